"""The prior of `image/rate`: round trips of any span, the same bytes everywhere, hostile bytes."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from omnicodec.codecs import CorruptStream, InvalidInput
from omnicodec.codecs.image._rate_prior import RatePrior
from omnicodec.codecs.prior import Span
from omnicodec.models.exact import BACKENDS, use_backend
from omnicodec.models.image.context import bits
from omnicodec.models.image.rate_contexts import FIRST, LARGEST

HERE = Path(__file__)


def made() -> ModuleType:
    """Return the module that makes the tensors."""
    spec = importlib.util.spec_from_file_location("rate_made", HERE.with_name("rate_tensors.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


MADE = made()
TENSORS = MADE.rate_tensors()
PRIOR = RatePrior.from_tensors(TENSORS)
CHANNELS = MADE.CONFIG.channels


def draw(positions: int, seed: int, scale: float = 3.0) -> np.ndarray:
    """Return ids `(C, positions)`, now and then the largest there are."""
    rng = np.random.default_rng(seed)
    largest = np.full((CHANNELS, 1), LARGEST[1])
    largest[:FIRST] = LARGEST[0]
    y = np.round(rng.laplace(0, scale, (CHANNELS, positions))).clip(-largest, largest)
    y = np.where(rng.random(y.shape) < 0.01, largest * rng.choice([-1, 1], y.shape), y)
    return np.where(y > 0, 2 * y - 1, -2 * y).astype(np.int32)


def digest() -> str:
    """Return SHA-256 over streams of several spans, after reading them back."""
    found = hashlib.sha256()
    for seed, span in enumerate((Span((3, 4), 0, 12), Span((3, 5), 3, 14), Span((4, 1), 0, 4))):
        ids = draw_plain(len(span), seed)
        data = PRIOR.encode(ids, span)
        assert np.array_equal(PRIOR.decode(data, span), ids)
        found.update(data)
    return found.hexdigest()


def draw_plain(positions: int, seed: int) -> np.ndarray:
    """Return ids of plain arithmetic, mostly small."""
    n = MADE.scattered((CHANNELS, positions), seed + 1000, 30)
    return (np.abs(n) ** 3 // 900).astype(np.int32)


GOLDEN = "9797d312033e1d45700aa3f676c0d10dd3bd36b9896fa2dc6adbeb1c4753b276"


@given(st.tuples(st.integers(1, 9), st.integers(1, 9)), st.data())
def test_decode_inverts_encode(grid: tuple[int, int], data: st.DataObject) -> None:
    start = data.draw(st.integers(0, grid[0] * grid[1]))
    span = Span(grid, start, data.draw(st.integers(start, grid[0] * grid[1])))
    ids = draw(len(span), data.draw(st.integers(0, 99)), data.draw(st.sampled_from([0.1, 3, 200])))
    coded = PRIOR.encode(ids, span)
    assert np.array_equal(PRIOR.decode(coded, span), ids)
    assert (len(coded) == 0) == (len(span) == 0)


def test_streams_are_golden() -> None:
    assert digest() == GOLDEN


@pytest.mark.parametrize("backend", BACKENDS)
def test_golden_with_every_backend_and_number_of_threads(backend) -> None:
    before = torch.get_num_threads()
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            with use_backend(backend):
                assert digest() == GOLDEN
    finally:
        torch.set_num_threads(before)


def test_golden_from_threads_side_by_side() -> None:
    with ThreadPoolExecutor(4) as pool:
        assert set(pool.map(lambda _: digest(), range(8))) == {GOLDEN}


PROGRAM = """
import importlib.util, sys, warnings
warnings.simplefilter("error", RuntimeWarning)  # numpy's, where integers overflow
spec = importlib.util.spec_from_file_location("tests_of_rate", sys.argv[1])
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
print(module.digest())
"""


@pytest.mark.parametrize(
    "settings",
    [
        {"OMP_NUM_THREADS": "2", "ONEDNN_MAX_CPU_ISA": "AVX2", "ATEN_CPU_CAPABILITY": "avx2"},
        {"OMP_NUM_THREADS": "1", "ONEDNN_MAX_CPU_ISA": "SSE41", "ATEN_CPU_CAPABILITY": "default",
         "NUMBA_DISABLE_JIT": "1"},
    ],
    ids=["AVX2 and two threads", "SSE4.1 and no compiler"],
)  # fmt: skip
def test_golden_in_another_process(settings: dict[str, str]) -> None:
    command = [sys.executable, "-c", PROGRAM, str(HERE)]
    done = subprocess.run(
        command, env={**os.environ, **settings}, capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [GOLDEN]


@settings(max_examples=150)
@given(st.binary(max_size=60), st.integers(1, 30))
def test_any_bytes_decode_or_are_refused(data: bytes, positions: int) -> None:
    try:
        ids = PRIOR.decode(data, Span((1, positions), 0, positions))
    except CorruptStream:
        return
    assert ids.shape == (CHANNELS, positions)
    assert ids.min() >= 0
    assert (ids[:FIRST] <= 2 * LARGEST[0]).all()
    assert (ids[FIRST:] <= 2 * LARGEST[1]).all()


@pytest.mark.parametrize("damage", ["cut", "longer", "class", "flipped", "empty"])
def test_damage_is_noticed(damage: str) -> None:
    span = Span((4, 5), 0, 20)
    data = PRIOR.encode(draw(20, 1), span)
    broken = {
        "cut": data[:-2],
        "longer": data + b"\0\0",
        "class": b"\x15" + data[1:],
        "flipped": data[:40] + bytes([data[40] ^ 16]) + data[41:],
        "empty": b"",
    }[damage]
    with pytest.raises(CorruptStream):
        PRIOR.decode(broken, span)


def test_an_empty_chunk_has_no_bytes() -> None:
    with pytest.raises(CorruptStream):
        PRIOR.decode(b"\0", Span((0, 3), 0, 0))


def test_ids_out_of_range_and_other_grids_are_refused() -> None:
    ids = np.zeros((CHANNELS, 4), np.int32)
    for channel, value in ((0, 2 * LARGEST[0] + 1), (FIRST, 2 * LARGEST[1] + 1), (3, -1)):
        wrong = ids.copy()
        wrong[channel, 2] = value
        with pytest.raises(InvalidInput, match="range"):
            PRIOR.encode(wrong, Span((2, 2), 0, 4))
    with pytest.raises(InvalidInput, match="grid"):
        PRIOR.encode(ids, Span((4,), 0, 4))


@pytest.mark.parametrize("quality", [0, 7, 20])
def test_any_class_can_be_read(monkeypatch: pytest.MonkeyPatch, quality: int) -> None:
    span, ids = Span((6, 6), 0, 36), draw(36, 5, 1.0)
    monkeypatch.setattr(RatePrior, "_best_class", lambda *_: quality)
    data = PRIOR.encode(ids, span)
    assert data[0] == quality
    assert np.array_equal(PRIOR.decode(data, span), ids)


def test_the_class_is_that_of_fewest_bits() -> None:
    """A network whose only weights tell scales from the quality: each class suits one scale."""
    tensors = {key: value.copy() for key, value in TENSORS.items()}
    for name, value in tensors.items():
        if name.startswith("1.") and not name.endswith("shift"):
            value[:] = 0
    hats = 9 * MADE.CONFIG.groups[1]
    enter, out = tensors["1.enter.weight"], tensors["1.out.weight"]
    for hat in range(5):
        enter[hat, hats + hat] = 127
        out[4:, hat] = 8 * hat  # classes of the group's four channels
    tensors["1.enter.shift"][:], tensors["1.out.shift"][:] = 7, 0
    prior = RatePrior.from_tensors(tensors)
    classes = []
    for scale in (0.1, 0.5, 1.5, 4.0, 12.0):
        y = np.round(np.random.default_rng(0).laplace(0, scale, (CHANNELS, 64)))
        ids = np.where(y > 0, 2 * y - 1, -2 * y).astype(np.int32)
        classes.append(prior.encode(ids, Span((8, 8), 0, 64))[0])
    assert classes == sorted(classes)
    assert classes[0] < 6 < classes[-1]


def test_the_estimate_is_what_coding_costs() -> None:
    height, width = 8, 9
    ids = draw_plain(height * width, 7)
    y = np.where(ids & 1, (ids + 1) // 2, -(ids // 2)).reshape(1, CHANNELS, height, width)
    latents = torch.from_numpy(y).float()
    mean, scale = PRIOR.estimate(latents, torch.tensor([40.0]))
    assert mean.shape == scale.shape == latents.shape
    spread = bits(latents, mean, scale).sum().item() / 8
    assert spread / 3 < len(PRIOR.encode(ids, Span((height, width), 0, 72))) < 3 * spread


def test_fingerprints_tell_priors_apart() -> None:
    assert RatePrior.from_tensors(MADE.rate_tensors()).fingerprint == PRIOR.fingerprint
    for name in ("frequencies", "prediction", "1.enter.weight", "0.out.bias"):
        other = {key: value.copy() for key, value in TENSORS.items()}
        other[name].flat[:2] = other[name].flat[[1, 0]]
        if np.array_equal(other[name], TENSORS[name]):
            other[name].flat[0] += 1
        if name == "frequencies":
            other[name][0, 0] = np.roll(TENSORS[name][0, 0], 1)
        assert RatePrior.from_tensors(other).fingerprint != PRIOR.fingerprint


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("prediction", lambda x: x[:-1]),
        ("frequencies", lambda x: x - 1),
        ("shifts", lambda x: x + 9),
        ("0.out.bias", lambda x: x[:-2]),
        ("1.enter.weight", lambda x: x[:, :-8]),
        ("2.project.shift", lambda x: x + 100),
        ("1.expand.weight", lambda x: x.astype(np.int16)),
        ("2.out.bias", None),
        ("frequencies", None),
    ],
)
def test_tensors_that_do_not_fit_are_refused(name: str, change) -> None:
    wrong = {key: value for key, value in TENSORS.items() if key != name or change is not None}
    if change is not None:
        wrong[name] = change(wrong[name])
    with pytest.raises(ValueError, match=r"."):
        RatePrior.from_tensors(wrong)
