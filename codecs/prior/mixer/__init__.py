"""The integer context mixer: an exact prior that learns while it codes.

A symbol becomes binary decisions; each is predicted from hashed contexts by a table that
training made and one that the item makes, and the predictions are mixed by weights that go
on learning. There are integers only, so every machine sees the same probabilities.
"""

from omnicodec.codecs.prior.mixer.bytes_model import INFORMATION_UNIT, ByteModel, byte_model
from omnicodec.codecs.prior.mixer.prior import Advisor, MixerPrior, Steps
from omnicodec.codecs.prior.mixer.schema import Neighbour, Schema, text_schema

__all__ = [
    "INFORMATION_UNIT",
    "Advisor",
    "ByteModel",
    "MixerPrior",
    "Neighbour",
    "Schema",
    "Steps",
    "byte_model",
    "text_schema",
]
