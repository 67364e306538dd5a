"""Which of the classes of Laplace distributions suits integers that are coded with one for all."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from omnicodec.models.inr.arm_kernels import CLASSES, LEAST, RATIO


def class_of(values: NDArray[np.integer[Any]]) -> tuple[int, float]:
    """Return the class that codes integers in the fewest bits, and these.

    No integer counts for more than 24: what a class hardly expects is coded in another way.
    """
    sizes, counts = np.unique(np.abs(values), return_counts=True)
    scales = LEAST * RATIO ** np.arange(CLASSES)[:, None]
    beyond = 0.5 * np.exp(-np.abs(sizes - 0.5) / scales) * -np.expm1(-1 / scales)
    shares = np.where(sizes == 0, -np.expm1(-0.5 / scales), beyond)
    bits = -(np.log2(np.maximum(shares, 2.0**-24)) * counts).sum(1)
    which = int(bits.argmin())
    return which, float(bits[which])
