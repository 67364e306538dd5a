"""Media, tokens and masks whose arrays must not be written to, such as what Pillow hands out."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from omnicodec.codecs import Audio, Image, Media, Tokens, Video, available, describe, load
from omnicodec.codecs.image import inr as image_inr
from omnicodec.codecs.video import _inr_fit as video_fit

RNG = np.random.default_rng(0)


def locked(array: NDArray[Any]) -> NDArray[Any]:
    """Return a copy of an array that must not be written to."""
    array = array.copy()
    array.setflags(write=False)
    return array


# Sizes and rates that no padding and no resampling makes copies of.
PIXELS = locked(RNG.integers(0, 256, (64, 64, 3), np.uint8))
FRAMES = locked(np.stack([PIXELS, PIXELS[::-1]]))
SAMPLES = locked(RNG.normal(0, 0.1, (1, 24_000)).astype(np.float32))

MEDIA: dict[str, Media] = {
    "image": Image(PIXELS),
    "video": Video(FRAMES, 25),
    "audio": Audio(SAMPLES, 24_000),
}

WAYS = [
    *((name, {}) for name in available() if describe(name).modality in MEDIA),
    ("image/inr", {"effort": "normal"}),
    ("video/inr", {"effort": "normal"}),
    ("video/inr", {"method": "hnerv"}),
]


@pytest.fixture(autouse=True)
def all_warnings(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Make warnings errors, and have torch warn each time and not once; fits are short."""
    monkeypatch.setattr(image_inr, "EFFORTS", {**image_inr.EFFORTS, "normal": 2})
    monkeypatch.setattr(video_fit, "KEY_STEPS", {"fast": 0, "normal": 2})
    monkeypatch.setattr(video_fit, "HNERV_EPOCHS", {"fast": 1, "normal": 1})
    torch.set_warn_always(True)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield
    torch.set_warn_always(False)


def test_media_hold_the_very_arrays_they_are_given() -> None:
    assert Image(PIXELS).pixels is PIXELS
    assert Video(FRAMES, 25).frames is FRAMES
    assert Audio(SAMPLES, 24_000).samples is SAMPLES


@pytest.mark.parametrize(("name", "settings"), WAYS, ids=lambda x: str(x))
def test_nothing_is_written_to_and_nothing_warns(name: str, settings: dict[str, Any]) -> None:
    item = MEDIA[name.split("/")[0]]
    codec = load(name, device="cpu")
    (tokens,) = codec.encode([item], **settings)
    given = Tokens(name, tokens.fingerprint, locked(tokens.ids), tokens.grid, tokens.extent)
    codec.decode([given])
    lost = np.zeros(len(tokens), np.bool_)
    lost[len(lost) // 2] = True
    codec.decode([given], missing=[locked(lost)])
