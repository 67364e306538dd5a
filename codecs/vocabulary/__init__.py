"""One id space for several codecs: mixed documents as one integer sequence, and back."""

from __future__ import annotations

from omnicodec.codecs.vocabulary.embeddings import grow_embeddings
from omnicodec.codecs.vocabulary.entry import VocabularyEntry
from omnicodec.codecs.vocabulary.patterns import PATTERNS, patch, unpatch
from omnicodec.codecs.vocabulary.reader import FoundPart, Problem, Recovered
from omnicodec.codecs.vocabulary.vocabulary import Vocabulary

__all__ = [
    "PATTERNS",
    "FoundPart",
    "Problem",
    "Recovered",
    "Vocabulary",
    "VocabularyEntry",
    "grow_embeddings",
    "patch",
    "unpatch",
]
