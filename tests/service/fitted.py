"""The program `omnicodec` with one more codec, `image/fitted`, which takes as long as it is told.

Run as a program it is `omnicodec`. Imported, `install` makes the codec known in this process.
"""

from __future__ import annotations

import hashlib
import os
import time
import zlib
from collections.abc import Mapping
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from omnicodec import codecs
from omnicodec.codecs import CodecSpec, Image, InvalidInput, Media, Progress, Tokens, registry
from omnicodec.codecs.codec import Codec, Mask, Settings
from omnicodec.codecs.prior import Prior, Span

NAME = "image/fitted"
STEPS = {"fast": 20, "best": 60}
RANK = 4

SLEEP = "FITTED_SLEEP"
"""Seconds that a step takes longer than it does."""

LOG = "FITTED_LOG"
"""A file that gets a line for each time that work begins or ends."""


class ZlibPrior(Prior):
    fingerprint = "00000000000000cc"

    def encode(self, ids: NDArray[np.int32], span: Span) -> bytes:
        return zlib.compress(ids.astype("<i4").tobytes(), 9)

    def decode(self, data: bytes, span: Span) -> NDArray[np.int32]:
        return np.frombuffer(zlib.decompress(data), "<i4").reshape(-1, len(span)).astype(np.int32)


class FittedCodec(Codec[Image]):
    """A picture's brightness as a sum of products of columns and rows, by gradient descent.

    The larger the quality, the finer the columns and rows are quantized.
    """

    media_type: ClassVar[type[Media]] = Image
    on_device: ClassVar[bool] = False

    def __init__(self) -> None:
        self.spec = self.describe()
        self.prior = ZlibPrior()

    @classmethod
    def describe(cls) -> CodecSpec:
        return CodecSpec(
            name=NAME,
            version=1,
            modality="image",
            summary="a small matrix factorization",
            fingerprint="00000000000000dd",
            codebook_sizes=(1 << 16,),
            covers={"numbers": 1},
            prior=ZlibPrior.fingerprint,
            extent=("height", "width", "scale"),
            resumable=True,
            qualities=(10, 90),
            efforts=tuple(STEPS),
        )

    @classmethod
    def open(cls, device: str) -> Self:
        return cls()

    def expected_grid(self, extent: Mapping[str, int], positions: int) -> tuple[int, ...]:
        return (RANK * (extent["height"] + extent["width"]),)

    def _encode(self, item: Image, settings: Settings) -> Tokens:
        if not item.pixels.size:
            raise InvalidInput("an empty picture cannot be fitted")
        steps = STEPS[settings.effort or "fast"]
        scale = 16 if settings.quality == 10 else 512
        work = settings.work
        target = item.pixels.mean(2) / 255
        name = hashlib.sha256(f"{steps} {scale} {item.pixels.shape}".encode())
        name.update(item.pixels.tobytes())
        key = name.hexdigest()
        rng = np.random.default_rng(0)
        state = {
            "left": rng.normal(0.5, 0.1, (item.height, RANK)),
            "right": rng.normal(0.5, 0.1, (RANK, item.width)),
            "step": np.zeros(1, np.int64),
        }
        state.update(work.restore(key) or {})
        _log(f"begun at {state['step'][0]}")
        for step in range(int(state["step"][0]), steps):
            left, right = state["left"], state["right"]
            error = left @ right - target
            state["left"] = left - 0.5 * error @ right.T / item.width
            state["right"] = right - 0.5 * left.T @ error / item.height
            state["step"] = np.array([step + 1])
            time.sleep(float(os.environ.get(SLEEP, "0")))
            if step % 5 == 4 or work.cancelled:
                work.save(key, state)
            tokens = self._quantized(state, item, scale)
            difference = self._decode(tokens, None).pixels[..., 0] / 255 - target
            progress = Progress(
                share=(step + 1) / steps,
                step=step + 1,
                bits=8 * len(zlib.compress(tokens.ids.tobytes())),
                psnr=float(-10 * np.log10(np.mean(difference**2) + 1e-10)),
                seconds_left=(steps - step - 1) * 0.01,
                preview=lambda: self._decode(self._quantized(state, item, scale), None),
            )
            if work.report(progress):
                break
        _log(f"done at {state['step'][0]}")
        return self._quantized(state, item, scale)

    def _quantized(self, state: Mapping[str, Any], item: Image, scale: int) -> Tokens:
        numbers = np.concatenate([state["left"].ravel(), state["right"].ravel()])
        ids = np.clip(np.rint(numbers * scale) + 4096, 0, 65535).astype(np.int32)
        extent = {"height": item.height, "width": item.width, "scale": scale}
        return Tokens(NAME, self.spec.fingerprint, ids[None], (ids.size,), extent)

    def _decode(self, tokens: Tokens, missing: Mask | None) -> Image:
        height, width, scale = (tokens.extent[name] for name in self.spec.extent)
        numbers = (tokens.ids[0] - 4096) / scale
        left = numbers[: RANK * height].reshape(height, RANK)
        grey = np.clip(left @ numbers[RANK * height :].reshape(RANK, width), 0, 1)
        return Image(np.rint(255 * grey).astype(np.uint8)[..., None].repeat(3, 2))


def install() -> None:
    """Make `image/fitted` known."""
    names = tuple(sorted((*registry.available(), NAME)))
    registry.available = codecs.available = lambda: names
    registry.register(NAME)(FittedCodec)


def _log(line: str) -> None:
    if path := os.environ.get(LOG):
        with open(path, "a") as file:
            file.write(f"{line}\n")


if __name__ == "__main__":
    install()
    from omnicodec.service.cli import main

    main()
