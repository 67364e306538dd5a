"""Codecs for text, one file each."""
