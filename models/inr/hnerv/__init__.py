"""HNeRV, the reference of video: a clip as a decoder's weights and a tiny embedding of each frame.

After Chen et al. 2023 (arXiv:2304.02633). An encoder, a decoder and nothing else are fitted to one
clip; the encoder is thrown away. What is kept are integers.

    shape.py     how large the networks are, from the clip's size and a quality
    network.py   encoder and decoder, as they are fitted
    integers.py  weights and embeddings as one row of integers, and back
    fit.py       the fit
    exact.py     the decoder in integers, as streams need it
"""

from __future__ import annotations

from omnicodec.models.inr.hnerv.exact import render
from omnicodec.models.inr.hnerv.fit import Fitted, HnervFit
from omnicodec.models.inr.hnerv.integers import Segment, classes, layout, row_size

__all__ = ["Fitted", "HnervFit", "Segment", "classes", "layout", "render", "row_size"]
