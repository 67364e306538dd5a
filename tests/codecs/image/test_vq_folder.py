"""One's own weights of `image/vq`: opened by path, with qualities, prior and concealment."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from omnicodec.codecs import (
    CorruptStream,
    FingerprintMismatch,
    Image,
    InvalidInput,
    Tokens,
    describe,
    load,
)
from omnicodec.codecs.image._vq import VQCodec
from omnicodec.codecs.prior import StaticPrior
from omnicodec.codecs.stream import read_tokens, write_tokens


def photo(height: int, width: int) -> Image:
    y, x = np.mgrid[:height, :width] / 20.0
    planes = [np.sin(x + y), np.cos(x - y), np.sin(2 * x)]
    return Image((np.stack(planes, 2) * 100 + 128).astype(np.uint8))


@pytest.fixture(scope="module")
def codec(toy_folder: Path) -> VQCodec:
    found = load(toy_folder, device="cpu")
    assert isinstance(found, VQCodec)
    return found


@pytest.fixture
def copy(toy_folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(toy_folder, tmp_path / "copy"))


def test_a_folder_is_a_codec(codec: VQCodec, toy_folder: Path) -> None:
    spec = codec.spec
    assert (spec.name, spec.version, spec.codebook_sizes) == ("image/vq", 7, (48,))
    assert spec.covers == {"height": 8, "width": 8}
    assert spec.prior == codec.prior.fingerprint
    assert describe(toy_folder) == spec
    assert load(toy_folder, device="cpu") is codec
    picture = photo(50, 75)
    (tokens,) = codec.encode([picture])
    assert tokens.grid == (7, 10)
    stream = write_tokens(tokens, codec)
    assert read_tokens(stream, codec=codec).tokens == tokens
    with pytest.raises(FingerprintMismatch):
        read_tokens(stream)
    (back,) = codec.decode([tokens])
    assert back.pixels.shape == picture.pixels.shape


def test_a_folder_that_changed_is_read_again(copy: Path) -> None:
    before = load(copy, device="cpu")
    (copy / "prior.safetensors.zst").unlink()
    counts = [[np.ones(n, np.int64) for n in (4, 4, 3)]]
    save_file(StaticPrior.train(counts).tables(), copy / "prior.safetensors")
    after = load(copy, device="cpu")
    assert after.spec.prior != before.spec.prior
    assert after.spec.fingerprint == before.spec.fingerprint
    assert after.spec.qualities == ()
    (tokens,) = after.encode([photo(16, 16)])
    assert after.token_bits(tokens) == pytest.approx(4 * math.log2(48))


def test_lower_qualities_use_less_of_the_codebook(codec: VQCodec) -> None:
    assert codec.spec.qualities == (25, 50, 100)
    picture = photo(160, 200)
    sizes, bits = [], []
    for quality, entries in ((25, 6), (50, 16)):
        (tokens,) = codec.encode([picture], quality=quality)
        assert np.unique(tokens.ids).size <= entries
        stream = write_tokens(tokens, codec, quality=quality)
        assert read_tokens(stream, codec=codec).tokens == tokens
        assert codec.decode([tokens])[0].pixels.shape == picture.pixels.shape
        assert codec.token_bits(tokens) <= len(tokens) * math.log2(entries) + 1e-6
        sizes.append(len(stream))
        bits.append(codec.token_bits(tokens))
    assert bits == sorted(bits)
    assert codec.encode([picture], quality=100) == codec.encode([picture])
    everything = Tokens(
        "image/vq", codec.spec.fingerprint, np.arange(48, dtype=np.int32)[None], (6, 8),
        {"height": 48, "width": 64},
    )  # fmt: skip
    assert codec.token_bits(everything) == pytest.approx(48 * math.log2(48))


@pytest.mark.parametrize("quality", [0, 26, 101, -1])
def test_a_quality_that_is_not_there(codec: VQCodec, quality: int) -> None:
    with pytest.raises(InvalidInput, match="quality"):
        codec.encode([photo(8, 8)], quality=quality)


def test_lost_tokens_are_not_looked_at(codec: VQCodec) -> None:
    (tokens,) = codec.encode([photo(80, 96)])
    rng = np.random.default_rng(0)
    missing = rng.random(len(tokens)) < 0.3
    other = np.where(missing, rng.integers(0, 48, tokens.ids.shape), tokens.ids).astype(np.int32)
    changed = Tokens(tokens.codec, tokens.fingerprint, other, tokens.grid, tokens.extent)
    filled = codec.decode([tokens], missing=[missing])
    assert filled == codec.decode([changed], missing=[missing])
    assert filled != codec.decode([tokens])
    nothing = np.zeros(len(tokens), np.bool_)
    assert codec.decode([tokens], missing=[nothing]) == codec.decode([tokens])
    (blank,) = codec.decode([tokens], missing=[~nothing])
    assert blank.pixels.shape == (80, 96, 3)


@pytest.mark.parametrize("size", [(8, 8), (1, 700), (700, 5), (0, 0), (0, 9)])
def test_lost_tokens_of_any_grid(codec: VQCodec, size: tuple[int, int]) -> None:
    (tokens,) = codec.encode([photo(*size)])
    missing = np.ones(len(tokens), np.bool_)
    missing[::3] = False
    (back,) = codec.decode([tokens], missing=[missing])
    assert back.pixels.shape == (*size, 3)


def test_masks_that_make_no_sense(codec: VQCodec) -> None:
    (tokens,) = codec.encode([photo(16, 24)])
    for mask in (
        np.zeros(5, np.bool_),
        np.zeros((2, 3), np.bool_),
        np.zeros(6, np.uint8),
        np.zeros(6),
        [False] * 6,
        True,
        "no mask",
    ):
        with pytest.raises(InvalidInput, match="mask is a numpy array of bool"):
            codec.decode([tokens], missing=[mask])
    with pytest.raises(InvalidInput, match="2 masks"):
        codec.decode([tokens], missing=[None, None])


def test_damage_to_one_chunk_leaves_the_others(codec: VQCodec) -> None:
    picture = photo(160, 160)
    (tokens,) = codec.encode([picture])
    stream = bytearray(write_tokens(tokens, codec, chunk_positions=100))
    stream[-3] ^= 1
    with pytest.raises(CorruptStream):
        read_tokens(bytes(stream), codec=codec)
    contents = read_tokens(bytes(stream), codec=codec, partial=True)
    assert contents.missing is not None
    assert np.flatnonzero(contents.missing).tolist() == list(range(300, 400))
    (back,) = codec.decode([contents.tokens], missing=[contents.missing])
    (whole,) = codec.decode([tokens])
    np.testing.assert_array_equal(back.pixels[:32], whole.pixels[:32])
    assert back != whole


def rewrite(folder: Path, **values: object) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


@pytest.mark.parametrize(
    "spoil",
    [
        lambda f: (f / "model.safetensors").write_bytes(b"junk"),
        lambda f: (f / "prior.safetensors.zst").write_bytes(b"junk"),
        lambda f: (f / "prior.safetensors.zst").unlink(),
        lambda f: (f / "config.json").write_text("{"),
        lambda f: (f / "config.json").write_text("[]"),
        lambda f: rewrite(f, codec="image/none"),
        lambda f: rewrite(f, codec=3),
        lambda f: rewrite(f, codec="audio/rvq"),
        lambda f: rewrite(f, codec="text/bpe"),
        lambda f: rewrite(f, levels=[4, 4]),
        lambda f: rewrite(f, levels="4"),
        lambda f: rewrite(f, encoder_channels=17),
        lambda f: rewrite(f / "masked", levels=[4, 4, 4]),
        lambda f: (f / "masked" / "model.safetensors").write_bytes(b""),
        lambda f: shutil.rmtree(f),
    ],
)
def test_folders_that_cannot_be_opened(copy: Path, spoil) -> None:
    spoil(copy)
    with pytest.raises(InvalidInput):
        load(copy, device="cpu")
