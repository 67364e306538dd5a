"""The commands of `omnicodec`, one module for those that belong together."""
