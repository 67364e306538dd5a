"""Codecs for sound, one file each."""
