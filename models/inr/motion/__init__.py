"""Motion between frames: found by an encoder, coded, and followed by a decoder in integers.

field.py          the motion of a frame, and its row of integers
compensation.py   the frame that motion makes of its references, with overlapping blocks
interpolation.py  pixels between pixels
estimation.py     motion for a frame: modes, splits and vectors by error and bits
search.py         one vector: from likely places downhill
coarse.py         a first guess, from small pictures to larger ones
matching.py       errors and bits that are compared
vectors.py        what a vector is likely to be, given its neighbours
"""
