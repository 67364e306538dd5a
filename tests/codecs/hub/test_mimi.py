"""Mimi: what its own library says is what comes out."""

from __future__ import annotations

import gc
import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omnicodec.codecs import Audio, Codec, InvalidInput, Tokens, describe, load
from omnicodec.codecs.codec import StreamingCodec
from omnicodec.codecs.stream.omc import read_tokens, write_tokens

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

Sound = Callable[..., Audio]

LENGTHS = (1, 16, 17, 1633)

# Frames as often as Mimi's, and so blocks of as many: 50 frames of 16 samples.
SLOW = {"sampling_rate": 200, "frame_rate": 12.5}
BLOCK = 800


def make(**options: Any) -> Any:
    """Return a small Mimi whose frames are 16 samples, and whose attention has a short window."""
    small = {
        "sampling_rate": 8000, "frame_rate": 500.0, "upsampling_ratios": [4, 2], "num_filters": 4,
        "hidden_size": 16, "codebook_size": 64, "codebook_dim": 8, "num_quantizers": 4,
        "vector_quantization_hidden_dimension": 8, "upsample_groups": 16, "num_hidden_layers": 2,
        "intermediate_size": 32, "num_attention_heads": 2, "num_key_value_heads": 2, "head_dim": 8,
        "sliding_window": 20,
    }  # fmt: skip
    torch.manual_seed(5)
    model = transformers.MimiModel(transformers.MimiConfig(**{**small, **options})).eval()
    for layer in model.requires_grad_(False).modules():
        if hasattr(layer, "embed_sum"):  # the library starts with all zeros
            layer.embed_sum.normal_()
        elif isinstance(layer, torch.nn.Conv1d) and layer.bias is not None:
            layer.bias.zero_()  # as large as the sound: all codes would be alike
    return model


def save(path: Path, **options: Any) -> Path:
    """Save such a Mimi."""
    make(**options).save_pretrained(path)
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(tmp_path_factory.mktemp("mimi") / "small-mimi")


@pytest.fixture(scope="module")
def library(folder: Path) -> Any:
    return transformers.MimiModel.from_pretrained(folder).eval()


@pytest.fixture(scope="module")
def codec(folder: Path) -> Codec[Any]:
    return load(f"hf:{folder}", device="cpu")


def theirs(model: Any, samples: np.ndarray, books: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the library's codes `(books, N)` of a clip, and what it decodes of them."""
    with torch.no_grad():
        codes = model.encode(torch.from_numpy(samples.copy())[None], num_quantizers=books)
        heard = model.decode(codes.audio_codes).audio_values
    return codes.audio_codes[0].numpy(), heard[0, :, : samples.shape[1]].numpy()


@pytest.mark.parametrize("samples", LENGTHS)
@pytest.mark.parametrize("books", [1, 4])
def test_codes_and_sound_are_the_librarys(
    codec: Codec[Any], library: Any, sound: Sound, samples: int, books: int
) -> None:
    clip = sound(samples, 8000)
    codes, heard = theirs(library, clip.samples, books)
    tokens = codec.encode([clip], quality=books)[0]
    assert np.array_equal(tokens.ids[:books], codes)
    assert not tokens.ids[books:].any()
    assert np.array_equal(codec.decode([tokens])[0].samples, heard)


def test_codes_differ(codec: Codec[Any], sound: Sound) -> None:
    tokens = codec.encode([sound(4000, 8000)])[0]
    assert all(len(np.unique(row)) > 8 for row in tokens.ids)


def test_two_channels_and_semantic_codebooks_are_the_librarys(tmp_path: Path, sound: Sound) -> None:
    path = save(tmp_path / "stereo", audio_channels=2, num_semantic_quantizers=2)
    codec, model = load(path, device="cpu"), transformers.MimiModel.from_pretrained(path).eval()
    assert codec.spec.qualities == (2, 3, 4)
    clip = sound(777, 8000, 2)
    codes, heard = theirs(model, clip.samples, 3)
    tokens = codec.encode([clip], quality=3)[0]
    assert np.array_equal(tokens.ids[:3], codes)
    assert np.array_equal(codec.decode([tokens])[0].samples, heard)


@pytest.mark.parametrize(
    ("samples", "rate", "channels"), [(0, 8000, 1), (900, 8000, 2), (1111, 11025, 3), (5, 48000, 1)]
)
def test_own_size_and_rate_come_back(
    codec: Codec[Any], sound: Sound, samples: int, rate: int, channels: int
) -> None:
    clip = sound(samples, rate, channels)
    tokens = codec.encode([clip])[0]
    codec.check(tokens)
    back = codec.decode([tokens])[0]
    assert back.samples.shape == clip.samples.shape
    assert back.sample_rate == rate
    assert read_tokens(write_tokens(tokens, codec), codec=codec).tokens == tokens


def test_batches_of_mixed_lengths_give_the_codes_of_each(codec: Codec[Any], sound: Sound) -> None:
    clips = [sound(n, 8000, 1 + n % 2, seed=n) for n in (300, 101, 300, 0, 17)]
    alone = [codec.encode([clip])[0] for clip in clips]
    assert codec.encode(clips) == alone
    assert codec.decode(alone) == [codec.decode([tokens])[0] for tokens in alone]


def test_what_comes_later_changes_no_code(codec: Codec[Any], sound: Sound) -> None:
    clip = sound(1600, 8000)
    short = Audio(clip.samples[:, :800], 8000)
    whole, start = (codec.encode([c])[0].ids for c in (clip, short))
    assert np.array_equal(whole[:, : start.shape[1]], start)


@pytest.mark.parametrize("length", [1, 2, 3, 1000, 1001, (1 << 24) + 1, (1 << 28) + 3])
def test_padding_is_exact_where_float32_is_not(codec: Any, library: Any, length: int) -> None:
    layers = [m for m in codec._model.modules() if hasattr(m, "_get_extra_padding_for_conv1d")]
    originals = [m for m in library.modules() if hasattr(m, "_get_extra_padding_for_conv1d")]
    assert {int(layer.stride) for layer in layers} == {1, 2, 4}
    hidden = torch.empty(1, 1, length, device="meta")
    for layer, original in zip(layers, originals, strict=True):
        padding = layer._get_extra_padding_for_conv1d(hidden)
        assert (length + padding) % int(layer.stride) == 0
        assert 0 <= padding < int(layer.stride)
        if length < 1 << 24:
            assert padding == original._get_extra_padding_for_conv1d(hidden)


def test_half_a_model_is_refused(folder: Path, tmp_path: Path) -> None:
    half = Path(shutil.copytree(folder, tmp_path / "half"))
    config = json.loads((half / "config.json").read_text())
    (half / "config.json").write_text(json.dumps({**config, "decoder_config": None}))
    with pytest.raises(InvalidInput, match="one half"):
        describe(f"hf:{half}")


# Block by block.


@pytest.fixture(scope="module")
def slow_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(tmp_path_factory.mktemp("mimi") / "slow-mimi", **SLOW)


@pytest.fixture(scope="module")
def slow_library(slow_folder: Path) -> Any:
    return transformers.MimiModel.from_pretrained(slow_folder).eval()


@pytest.fixture(scope="module")
def slow(slow_folder: Path) -> Any:
    return load(f"hf:{slow_folder}", device="cpu")


def same(codec: Any, model: Any, clip: Audio) -> None:
    """Compare with the library's own run of a whole clip."""
    codes, heard = theirs(model, clip.samples, 4)
    tokens = codec.encode([clip])[0]
    assert np.array_equal(tokens.ids, codes)
    np.testing.assert_allclose(codec.decode([tokens])[0].samples, heard, atol=1e-5 * heard.max())


@pytest.mark.parametrize("samples", [BLOCK - 1, BLOCK, BLOCK + 1, 2 * BLOCK, 2 * BLOCK + 17, 5003])
def test_blocks_give_what_the_library_makes_of_the_whole(
    slow: Any, slow_library: Any, sound: Sound, samples: int
) -> None:
    assert slow.spec.streaming
    same(slow, slow_library, sound(samples, 200))


@pytest.mark.parametrize(
    "options",
    [
        {"audio_channels": 2},
        {"pad_mode": "replicate", "num_residual_layers": 2},
        {"pad_mode": "reflect", "use_conv_shortcut": True},
        {"num_key_value_heads": 1, "frame_rate": 6.25},
        {"sliding_window": 2, "layer_scale_initial_scale": 1.0},
    ],
    ids=lambda options: next(iter(options)),
)
def test_blocks_of_other_configurations(
    tmp_path: Path, sound: Sound, options: dict[str, Any]
) -> None:
    path = save(tmp_path / "mimi", **{**SLOW, **options})
    codec, model = load(path, device="cpu"), transformers.MimiModel.from_pretrained(path).eval()
    assert codec.spec.streaming
    for samples in (20, 1999):
        same(codec, model, sound(samples, 200, options.get("audio_channels", 1)))


@pytest.mark.parametrize(
    "options",
    [
        {"use_causal_conv": False},
        {"trim_right_ratio": 0.5},
        {"rope_parameters": {"rope_type": "dynamic", "rope_theta": 1e4, "factor": 2.0}},
    ],
    ids=lambda options: next(iter(options)),
)
def test_what_depends_on_what_follows_runs_whole(
    tmp_path: Path, sound: Sound, options: dict[str, Any]
) -> None:
    # Not the library's `from_pretrained`: it loses the padding of layers that are not causal.
    model = make(**{**SLOW, **options})
    model.save_pretrained(tmp_path / "mimi")
    codec = load(tmp_path / "mimi", device="cpu")
    assert not codec.spec.streaming
    assert not isinstance(codec, StreamingCodec)
    assert "long" in codec.spec.details
    for samples in (1, 7, 999):
        same(codec, model, sound(samples, 200))


def test_clips_side_by_side_keep_the_librarys_codes(
    slow: Any, slow_library: Any, sound: Sound
) -> None:
    clips = [sound(n, 200, seed=n) for n in (2 * BLOCK, 1, 0, 3 * BLOCK + 33, 100)]
    found = slow.encode(clips, width=3)
    heard = slow.decode(found, width=3)
    for clip, tokens, back in zip(clips, found, heard, strict=True):
        if clip.samples.size:
            codes, whole = theirs(slow_library, clip.samples, 4)
            assert np.array_equal(tokens.ids, codes)
            np.testing.assert_allclose(back.samples, whole, atol=1e-5 * abs(whole).max())


def pieces(length: int, cuts: Sequence[int]) -> list[tuple[int, int]]:
    """Return where pieces start and stop."""
    edges = sorted({0, length, *(min(cut, length) for cut in cuts)})
    return list(pairwise(edges))


@settings(max_examples=10, deadline=None)
@given(
    samples=st.integers(1, 4 * BLOCK),
    rate=st.sampled_from([200, 160]),
    channels=st.integers(1, 2),
    cuts=st.lists(st.integers(1, 4 * BLOCK), max_size=6),
)
def test_a_stream_is_the_clip_however_it_is_cut(
    slow: Any, sound: Sound, samples: int, rate: int, channels: int, cuts: list[int]
) -> None:
    clip = sound(samples, rate, channels)
    whole = slow.encode([clip], quality=3)[0]
    encoder = slow.open_encoder(quality=3)
    parts = [
        encoder.push(Audio(clip.samples[:, start:stop], rate))
        for start, stop in pieces(samples, cuts)
    ]
    parts.append(encoder.finish())
    ids = np.concatenate([part.ids for part in parts], 1)
    assert np.array_equal(ids, whole.ids)
    assert sum(part.extent["samples"] for part in parts) == samples

    decoder, found = slow.open_decoder(), []
    for start, stop in pieces(whole.grid[0], cuts):
        own = ids.reshape(4, *whole.grid)[:, start:stop]
        extent = {**whole.extent, "samples": 0 if start else samples}
        piece = replace(whole, ids=own.reshape(4, -1), grid=(stop - start, channels), extent=extent)
        found.append(decoder.push(piece).samples)
    found.append(decoder.finish().samples)
    assert np.array_equal(np.concatenate(found, 1), slow.decode([whole])[0].samples)


def test_a_frame_depends_on_no_later_sound(slow: Any, sound: Sound) -> None:
    clip = sound(3 * BLOCK, 200)
    encoder = slow.open_encoder()
    first = encoder.push(Audio(clip.samples[:, :BLOCK], 200))
    assert first.grid == (50, 1)  # the whole block is final
    assert np.array_equal(first.ids, slow.encode([clip])[0].ids[:, :50])


def held() -> int:
    """Return the bytes of all tensors that anything in the process holds."""
    gc.collect()
    tensors = [x for x in gc.get_objects() if type(x) is torch.Tensor]
    storages = {x.untyped_storage().data_ptr(): x.untyped_storage().nbytes() for x in tensors}
    return sum(storages.values())


def test_memory_does_not_grow_with_a_stream(
    slow: Any, sound: Sound, monkeypatch: pytest.MonkeyPatch
) -> None:
    attention, seen = torch.nn.functional.scaled_dot_product_attention, []

    def watched(query: Any, key: Any, *rest: Any, **options: Any) -> Any:
        seen.append((query.shape[2], key.shape[2]))
        return attention(query, key, *rest, **options)

    monkeypatch.setattr(torch.nn.functional, "scaled_dot_product_attention", watched)
    block = sound(BLOCK, 200)
    encoder, decoder = slow.open_encoder(), slow.open_decoder()
    sizes = []
    for blocks in (3, 9):
        for _ in range(blocks):
            decoder.push(encoder.push(block))
        sizes.append(held())
    assert sizes[1] < sizes[0] + 1000  # one more block of keys and values alone would be 12 kB
    assert max(seen) == (100, 100 + 19)  # a block's positions, and the rest of the window


def test_tokens_that_no_stream_has_are_refused(slow: Any, sound: Sound) -> None:
    tokens = slow.encode([sound(2 * BLOCK, 200)])[0]
    ids = tokens.ids.copy()
    ids[1, 3] = 64
    decoder = slow.open_decoder()
    with pytest.raises(InvalidInput, match="63"):
        decoder.push(replace(tokens, ids=ids))
    short: Tokens = replace(tokens, ids=tokens.ids[:, :12], grid=(12, 1))
    decoder = slow.open_decoder()
    decoder.push(short)
    with pytest.raises(InvalidInput, match="12 frames"):
        decoder.finish()
    with pytest.raises(InvalidInput, match="grid"):
        slow.decode([short])
    with pytest.raises(InvalidInput, match="codebooks"):
        slow.decode([replace(tokens, extent={**tokens.extent, "codebooks": 5})])
