"""Networks of the image codecs."""
