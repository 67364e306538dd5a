"""`image/vq` and `image/vq8`: any size, a picture at a time, no seams, and golden streams."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from omnicodec.codecs import (
    Image,
    InvalidInput,
    LimitExceeded,
    Tokens,
    compress,
    decompress,
    load,
)
from omnicodec.codecs.image import _vq
from omnicodec.codecs.stream import read_tokens

CODEC = load("image/vq", device="cpu")
NAMES = ("image/vq", "image/vq8")
GOLDEN = Path(__file__).parents[2] / "golden"


def photo(height: int, width: int, seed: int = 0) -> Image:
    """Return smooth random shapes, closer to a photograph than noise is."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width] / 64.0
    waves = [
        rng.uniform(0.2, 1) * np.sin(rng.uniform(-2, 2) * x + rng.uniform(-2, 2) * y + phase)
        for phase in rng.uniform(0, 6, 12)
    ]
    planes = [sum(waves[c * 4 : c * 4 + 4], np.zeros_like(x)) for c in range(3)]
    return Image((np.stack(planes, 2) * 50 + 128).clip(0, 255).astype(np.uint8))


def psnr(a: Image, b: Image) -> float:
    error = a.pixels.astype(np.float64) - b.pixels
    return float(10 * np.log10(255**2 / np.mean(error**2)))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("height", "width"),
    [(1, 1), (16, 16), (17, 15), (1, 300), (250, 3), (96, 128), (0, 0), (0, 7), (5, 0)],
)
def test_any_size_comes_back(name: str, height: int, width: int) -> None:
    picture = photo(height, width)
    codec = load(name, device="cpu")
    patch = int(codec.spec.covers["height"])
    (tokens,) = codec.encode([picture])
    assert tokens.grid == (-(-height // patch), -(-width // patch))
    assert dict(tokens.extent) == {"height": height, "width": width}
    assert tokens.ids.shape == (1, tokens.grid[0] * tokens.grid[1])
    (back,) = codec.decode([tokens])
    assert back.pixels.shape == picture.pixels.shape
    assert decompress(compress(picture, name)) == back


def test_vq8_has_a_token_for_a_quarter_of_the_pixels() -> None:
    (coarse,), (fine,) = (load(name).encode([photo(64, 96)]) for name in NAMES)
    assert len(fine) == 4 * len(coarse)
    assert load("image/vq8").chunk_positions == 4 * CODEC.chunk_positions


def test_reconstruction_resembles_the_picture() -> None:
    picture = photo(192, 256)
    (back,) = CODEC.decode(CODEC.encode([picture]))
    assert psnr(picture, back) > 24
    shift = back.pixels.mean((0, 1)) - picture.pixels.mean((0, 1))
    assert np.abs(shift).max() < 3, "colours are shifted"


def test_a_picture_never_depends_on_its_neighbours() -> None:
    pictures = [photo(64, 96, 1), photo(64, 96, 2), photo(33, 50, 3), photo(64, 96, 4)]
    alone = [CODEC.encode([p])[0] for p in pictures]
    assert CODEC.encode(pictures) == alone
    assert CODEC.encode(pictures[::-1]) == alone[::-1]
    together = CODEC.decode(alone)
    assert together == [CODEC.decode([t])[0] for t in alone]


def test_threads_share_a_codec() -> None:
    pictures = [photo(64, 64, seed) for seed in range(8)]
    expected = CODEC.encode(pictures)
    with ThreadPoolExecutor(4) as pool:
        assert [t for (t,) in pool.map(lambda p: CODEC.encode([p]), pictures)] == expected


def test_tiles_leave_no_seams(monkeypatch: pytest.MonkeyPatch) -> None:
    """A tiled decode differs from one large pass by no more than eyes can see."""
    picture = photo(48 * 16, 8 * 16)
    monkeypatch.setattr(_vq, "CORE", 12)
    (tokens,) = CODEC.encode([picture])
    (tiled,) = CODEC.decode([tokens])
    monkeypatch.setattr(_vq, "CORE", 1000)
    (whole,) = CODEC.decode([tokens])
    difference = np.abs(tiled.pixels.astype(int) - whole.pixels)
    assert difference.max() <= 2
    assert difference.mean() < 0.05
    (one_pass,) = CODEC.encode([picture])
    assert (one_pass.ids != tokens.ids).mean() < 0.05


def test_lost_tokens_do_not_stop_a_picture() -> None:
    picture = photo(96, 96)
    (tokens,) = CODEC.encode([picture])
    missing = np.zeros(36, np.bool_)
    missing[14] = True
    (back,) = CODEC.decode([tokens], missing=[missing])
    (whole,) = CODEC.decode([tokens])
    assert psnr(picture, back) < psnr(picture, whole)
    # Far from the hole nothing changes much.
    corner = np.abs(back.pixels[64:, 64:].astype(int) - whole.pixels[64:, 64:])
    assert corner.mean() < 6


def test_tokens_that_lie_about_their_size() -> None:
    (tokens,) = CODEC.encode([photo(32, 32)])
    for extent, error in (
        ({"height": 33, "width": 32}, InvalidInput),
        ({"height": -1, "width": 32}, InvalidInput),
        ({"height": 10**9, "width": 10**9}, LimitExceeded),
    ):
        with pytest.raises(error):
            CODEC.decode([Tokens(tokens.codec, tokens.fingerprint, tokens.ids, (2, 2), extent)])


@pytest.mark.parametrize("name", NAMES)
def test_golden_stream_opens(name: str) -> None:
    """Made by scripts/make_golden.py when the weights were last replaced."""
    stem = f"{name.replace('/', '-')}-{load(name).spec.version}"
    contents = read_tokens((GOLDEN / f"{stem}.omc").read_bytes())
    assert contents.missing is None
    assert contents.tokens == Tokens.load(GOLDEN / f"{stem}.npz")


def test_mutated_streams_of_pictures() -> None:
    """Chunks that are swapped for other bytes under a right checksum decode or are refused."""
    from omnicodec.codecs import OmnicodecError
    from omnicodec.codecs.stream import frames

    stream = compress(photo(32, 48), "image/vq")
    header, _ = frames.read_header(stream)
    rng = np.random.default_rng(0)
    decoded = 0
    for _ in range(300):
        payload = rng.bytes(int(rng.integers(0, 16)))
        data = b"".join(frames.write_frames(header, [frames.Chunk(0, 6, payload)]))
        try:
            read_tokens(data)
            decoded += 1
        except OmnicodecError:
            pass
    assert 0 < decoded < 300


def test_damage_leaves_the_rest_of_a_large_picture() -> None:
    picture = photo(16 * 64, 16 * 64)
    stream = bytearray(compress(picture, "image/vq"))
    stream[-100] ^= 1  # in the second of two chunks
    contents = read_tokens(bytes(stream), partial=True)
    assert contents.missing is not None
    assert np.flatnonzero(contents.missing).tolist() == list(range(2048, 4096))
    (back,) = CODEC.decode([contents.tokens], missing=[contents.missing])
    (whole,) = CODEC.decode(CODEC.encode([picture]))
    # The first half but for what lies within the network's reach of the damage.
    difference = np.abs(back.pixels[:256].astype(int) - whole.pixels[:256])
    assert difference.max() <= 2


@pytest.mark.parametrize("name", NAMES)
def test_best_effort_is_closer_at_the_same_size(name: str) -> None:
    codec, picture = load(name, device="cpu"), photo(64, 96)
    (fast,), (best,) = codec.encode([picture]), codec.encode([picture], effort="best")
    assert codec.encode([picture], effort="fast") == [fast]
    assert best.grid == fast.grid
    decoded = codec.decode([fast, best])
    assert psnr(decoded[1], picture) > psnr(decoded[0], picture)
