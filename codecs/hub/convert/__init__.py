"""Weights that are published as pickles or programs, to folders that `load` opens.

`python -m omnicodec.codecs.hub.convert` is for these. It is run once, by who trusts the file or
where a hostile one does no harm; what it writes is opened without running anything.
"""
