"""One id space for several codecs: mixed documents as one integer sequence, and back."""

from __future__ import annotations

from omnicodec.codecs.vocabulary.patterns import PATTERNS, patch, unpatch
from omnicodec.codecs.vocabulary.vocabulary import Vocabulary, VocabularyEntry

__all__ = ["PATTERNS", "Vocabulary", "VocabularyEntry", "patch", "unpatch"]
