"""Priors: exact probability models over a codec's tokens."""

from __future__ import annotations

from omnicodec.codecs.prior.base import Prior, Span
from omnicodec.codecs.prior.static import StaticPrior

__all__ = ["Prior", "Span", "StaticPrior"]
