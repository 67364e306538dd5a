"""Small codecs, documents of their tokens, and hypothesis strategies of both."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from omnicodec.codecs import CodecSpec, Tokens, Vocabulary

TEXT = CodecSpec(
    name="text/bytes", version=1, modality="text", summary="", fingerprint="0" * 16,
    codebook_sizes=(256,), covers={"bytes": 1},
)  # fmt: skip
IMAGE = CodecSpec(
    name="image/vq", version=1, modality="image", summary="", fingerprint="1" * 16,
    codebook_sizes=(65536,), covers={"height": 16, "width": 16}, extent=("height", "width"),
    grid_rank=2,
)  # fmt: skip
AUDIO = CodecSpec(
    name="audio/rvq", version=1, modality="audio", summary="", fingerprint="2" * 16,
    codebook_sizes=(7, 5, 3), covers={"seconds": 0.02}, extent=("samples", "rate"),
)  # fmt: skip
FINE = CodecSpec(
    name="image/fine", version=1, modality="image", summary="", fingerprint="3" * 16,
    codebook_sizes=(16, 16), covers={"height": 8, "width": 8}, extent=("height", "width"),
    grid_rank=2,
)  # fmt: skip
SPECS = {spec.name: spec for spec in (TEXT, IMAGE, AUDIO, FINE)}


def make(spec: CodecSpec, grid: tuple[int, ...], extent: dict[str, int], seed: int = 0) -> Tokens:
    rng = np.random.default_rng(seed)
    n = int(np.prod(grid))
    ids = np.stack([rng.integers(0, size, n) for size in spec.codebook_sizes]).astype(np.int32)
    return Tokens(spec.name, spec.fingerprint, ids, grid, extent)


def text(data: bytes) -> Tokens:
    ids = np.frombuffer(data, np.uint8).astype(np.int32)[None]
    return Tokens(TEXT.name, TEXT.fingerprint, ids, (len(data),))


@st.composite
def parts(draw: st.DrawFn) -> Tokens:
    kind = draw(st.sampled_from(sorted(SPECS)))
    seed = draw(st.integers(0, 2**32 - 1))
    if kind == "text/bytes":
        return text(draw(st.binary(max_size=12)))
    if kind == "audio/rvq":
        t = draw(st.integers(0, 9))
        return make(AUDIO, (t,), {"samples": draw(st.integers(0, 10**12)), "rate": 24000}, seed)
    spec = SPECS[kind]
    h, w = draw(st.integers(0, 40)), draw(st.integers(0, 3))
    cell = int(spec.covers["height"])
    cut = draw(st.sampled_from([0, 0, 5]))
    extent = {"height": max(0, h * cell - cut), "width": w * cell}
    return make(spec, (h, w), extent, seed)


documents = st.lists(parts(), max_size=6)
patterns = st.sampled_from(["flat", "parallel", "delay"])


patches = st.sampled_from([1, 1, 2, 3, 7])


def vocabulary(pattern: str = "flat", patch: int = 1) -> Vocabulary:
    return Vocabulary.build([IMAGE, AUDIO, TEXT, FINE], pattern, patch)
