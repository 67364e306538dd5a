"""Codecs of video."""
