"""Published codecs behind the same interface: one file a family, found by configuration.

Nothing heavy is imported here; the libraries that hold the networks are, when one is opened.
"""
