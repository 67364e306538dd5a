"""Codecs for images, one file each."""
