"""DAC: what its own library says is what comes out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from omnicodec.codecs import Audio, Codec, load
from omnicodec.codecs.stream.omc import read_tokens, write_tokens

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

Sound = Callable[..., Audio]

HOP = 10
LENGTHS = (1, 10, 11, 1234)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    config = transformers.DacConfig(
        encoder_hidden_size=4, decoder_hidden_size=16, downsampling_ratios=[2, 5],
        n_codebooks=3, codebook_size=64, codebook_dim=4, sampling_rate=8000,
    )  # fmt: skip
    torch.manual_seed(3)
    model = transformers.DacModel(config).eval().requires_grad_(False)
    for layer in model.modules():  # the library starts with numbers so small that codes are alike
        if isinstance(layer, torch.nn.Conv1d):
            layer.weight.normal_(std=layer.weight[0].numel() ** -0.5)
        elif isinstance(layer, torch.nn.Embedding):
            layer.weight.normal_()
    path = tmp_path_factory.mktemp("dac") / "small-dac"
    model.save_pretrained(path)
    return path


@pytest.fixture(scope="module")
def library(folder: Path) -> Any:
    return transformers.DacModel.from_pretrained(folder).eval()


@pytest.fixture(scope="module")
def codec(folder: Path) -> Codec[Any]:
    return load(f"hf:{folder}", device="cpu")


def theirs(model: Any, clip: Audio, books: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the library's codes `(books, N)` of a mono clip, and what it decodes of them."""
    extractor = transformers.DacFeatureExtractor(sampling_rate=8000, hop_length=HOP)
    inputs = extractor(clip.samples[0], sampling_rate=8000, return_tensors="pt")
    with torch.no_grad():
        codes = model.encode(inputs["input_values"], n_quantizers=books).audio_codes
        heard = model.decode(audio_codes=codes).audio_values
    return codes[0].numpy(), heard.numpy()


@pytest.mark.parametrize("samples", LENGTHS)
@pytest.mark.parametrize("books", [1, 3])
def test_codes_and_sound_are_the_librarys(
    codec: Codec[Any], library: Any, sound: Sound, samples: int, books: int
) -> None:
    clip = sound(samples, 8000)
    codes, heard = theirs(library, clip, books)
    tokens = codec.encode([clip], quality=books)[0]
    assert np.array_equal(tokens.ids[:books], codes)
    assert not tokens.ids[books:].any()
    back = codec.decode([tokens])[0].samples
    length = min(samples, heard.shape[1])
    assert np.array_equal(back[:, :length], heard[:, :length])
    assert not back[:, length:].any()
    assert samples - length < HOP


def test_codes_differ(codec: Codec[Any], sound: Sound) -> None:
    tokens = codec.encode([sound(4000, 8000)])[0]
    assert all(len(np.unique(row)) > 8 for row in tokens.ids)


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


def test_channels_are_coded_each_by_itself(codec: Codec[Any], sound: Sound) -> None:
    clip = sound(300, 8000, 2)
    both = codec.encode([clip])[0]
    for row in range(2):
        alone = codec.encode([Audio(clip.samples[row : row + 1], 8000)])[0]
        assert np.array_equal(both.ids[:, row::2], alone.ids)


def test_batches_of_mixed_lengths_give_the_codes_of_each(codec: Codec[Any], sound: Sound) -> None:
    clips = [sound(n, 8000, 1 + n % 2, seed=n) for n in (300, 101, 300, 0, 17)]
    alone = [codec.encode([clip])[0] for clip in clips]
    assert codec.encode(clips) == alone
    assert codec.decode(alone) == [codec.decode([tokens])[0] for tokens in alone]
