"""The constants of the mixer's format.

Everything here decides predictions, and so what a stream means: a change is a new `VERSION`,
which changes the fingerprint of every prior of this kind, and with it every golden stream.
Log-odds are natural logarithms with 8 fractional bits, probabilities have 16 bits.
"""

from __future__ import annotations

from typing import Final

VERSION: Final = 1

ONE: Final = 1 << 16
"""Probability 1."""
LOGIT_MAX: Final = 2047
"""Inputs of the mixers, and the first layer's outputs, stay within ±8."""
SQUASH_MAX: Final = 3071
"""The second layer's output stays within ±12."""
P_MIN: Final = 4
"""What is coded is never less probable than 4 / 65,536."""

# The hash of contexts; the check of a bucket is its highest byte.
HASH_FACTORS: Final = (0x9E3779B1, 0x85EBCA6B, 0x2C1B3C6D)
HASH_SHIFTS: Final = (15, 13)
CHECK_SHIFT: Final = 24
BOOK_SEEDS: Final = 64
"""Contexts of codebook k begin their hashes at this times k."""

# Tables: a bucket has one check byte and the 15 nodes of the binary tree over 4 bits; four
# buckets are a set, which is one cache line.
GROUP_BITS: Final = 4
BUCKET: Final = 16
WAYS: Final = 4

# The item's own table: the power of two that holds this many buckets for each symbol.
BUCKETS_PER_SYMBOL: Final = 4
MIN_BUCKETS: Final = 1 << 8
MAX_BUCKETS: Final = 1 << 21
OPEN_BUCKETS: Final = 1 << 17
"""Where the length is not known ahead."""

# A code of the static table is a class of confidence and a level of log-odds; 0 is "unseen".
CONFIDENCES: Final = (1, 2, 3, 4, 7, 13, 31, 101)
"""The least count of each class."""
LEVELS: Final = 31
LEVEL_STEP: Final = 137
STATE_CLASSES: Final = 64

# The match model: where the last symbols stood before.
MATCH_SEED: Final = 77
MATCH_MAX: Final = 32
MATCH_RATE: Final = 6
MIN_HISTORY: Final = 1 << 10
MAX_HISTORY: Final = 1 << 20
OPEN_HISTORY: Final = 1 << 16

# Learning within the item. Weights have 16 fractional bits and stay within ±8.
WEIGHT_MAX: Final = (1 << 19) - 1
ERROR_SHIFT: Final = 4
UPDATE_SHIFT: Final = 14
BOOST_SYMBOLS: Final = 4096
"""The first layer's extra learning rate falls to nothing over this many symbols."""
REFINE_RATE: Final = 6

# Refinement (adaptive probability maps): hashed contexts, each with log-odds in steps of 1/2.
REFINEMENT_CONTEXTS: Final = 1 << 12
REFINEMENT_STEPS: Final = 33
REFINEMENT_STEP: Final = 128

# Equal-information windows (text/info).
WINDOW_BITS: Final = 16
WINDOW_LEAST: Final = 2
"""A window with fewer codes left than this is closed."""

# Chunks of text: the mark, the probability, of 65,536, that is left to codes that begin with a
# byte 0, and what the mixer codes at most. Longer chunks would take minutes alone on a
# thread; with more bytes for each byte of code, a short stream would take hours.
MARK: Final = 1 << 8
MAX_MIXED: Final = 1 << 22
MAX_MIXED_RATIO: Final = 1 << 10
