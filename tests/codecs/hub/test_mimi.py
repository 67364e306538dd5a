"""Mimi: what its own library says is what comes out."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from omnicodec.codecs import Audio, Codec, InvalidInput, describe, load
from omnicodec.codecs.stream.omc import read_tokens, write_tokens

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

Sound = Callable[..., Audio]

LENGTHS = (1, 16, 17, 1633)


def save(path: Path, **options: Any) -> Path:
    """Save a small Mimi whose frames are 16 samples, and whose attention has a short window."""
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
    model.save_pretrained(path)
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
