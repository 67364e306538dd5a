"""What there is to read, and how it is cut into slices before anything is read."""
