"""DAC: what its own library says is what comes out."""

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

HOP = 10
LENGTHS = (1, 10, 11, 1234)
SLOW = 1000  # Hz: windows of 10 s are short
WINDOW = 10_000  # samples that a window keeps


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
    extractor = transformers.DacFeatureExtractor(sampling_rate=clip.sample_rate, hop_length=HOP)
    inputs = extractor(clip.samples[0], sampling_rate=clip.sample_rate, return_tensors="pt")
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


def most_at_once(codec: Any, monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, ...]]:
    """Return a list of the shapes that the network is going to see."""
    seen: list[tuple[int, ...]] = []
    for name in ("_encode_batch", "_decode_batch"):
        own = getattr(codec, name)

        def spied(batch: Any, *books: int, run: Any = own) -> Any:
            seen.append(tuple(batch.shape))
            return run(batch, *books)

        monkeypatch.setattr(codec, name, spied)
    return seen


@pytest.fixture(scope="module")
def slow(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Codec[Any]:
    """Return the codec of the same network for a rate at which windows are short."""
    other = Path(shutil.copytree(folder, tmp_path_factory.mktemp("dac") / "slow-dac"))
    config = json.loads((other / "config.json").read_text())
    (other / "config.json").write_text(json.dumps({**config, "sampling_rate": SLOW}))
    return load(f"hf:{other}", device="cpu")


@pytest.mark.parametrize("samples", [WINDOW, WINDOW + 400, 3 * WINDOW + 1234])
def test_windows_give_the_codes_of_the_whole(
    slow: Codec[Any],
    library: Any,
    sound: Sound,
    samples: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen = most_at_once(slow, monkeypatch)
    clip = sound(samples, SLOW)
    codes, heard = theirs(library, clip, 3)
    tokens = slow.encode([clip])[0]
    assert np.array_equal(tokens.ids, codes)
    back = slow.decode([tokens])[0].samples
    length = min(samples, heard.shape[1])
    assert np.allclose(back[:, :length], heard[:, :length], rtol=0, atol=1e-4)
    assert not back[:, length:].any()
    count = -(-samples // (WINDOW + 350))  # the last has a few hundred samples around
    assert len(seen) == 2 * count
    assert max(shape[-1] for shape in seen) < WINDOW + 1000
    assert slow.encode([clip])[0] == tokens
    assert slow.decode([tokens])[0] == Audio(back, SLOW)


def test_windows_side_by_side_are_of_one_shape(
    slow: Codec[Any], library: Any, sound: Sound, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slow, "width", 4)  # as on a GPU, where clips share what runs at once
    seen = most_at_once(slow, monkeypatch)
    clips = [sound(n, SLOW, seed=n) for n in (2000, 3451, 1500)]
    tokens = slow.encode(clips)
    back = slow.decode(tokens)
    assert {shape[0] for shape in seen} == {4}
    assert len(set(seen)) == 2  # one of sound, one of codes
    for clip, own, decoded in zip(clips, tokens, back, strict=True):
        codes, heard = theirs(library, clip, 3)
        assert np.array_equal(own.ids, codes)
        length = min(clip.samples.shape[1], heard.shape[1])
        assert np.allclose(decoded.samples[:, :length], heard[:, :length], rtol=0, atol=1e-4)


def test_channels_and_rates_of_a_long_clip(slow: Codec[Any], sound: Sound) -> None:
    clip = sound(16_500, 1500, 2)
    tokens = slow.encode([clip], quality=2)[0]
    for row in range(2):
        alone = slow.encode([Audio(clip.samples[row : row + 1], 1500)], quality=2)[0]
        assert np.array_equal(tokens.ids[:, row::2], alone.ids)
    back = slow.decode([tokens])[0]
    assert back.samples.shape == clip.samples.shape
    assert read_tokens(write_tokens(tokens, slow), codec=slow).tokens == tokens


def test_the_spec_tells_of_windows(slow: Codec[Any]) -> None:
    assert slow.spec.details["windows"].startswith("1000 frames at once, about 10 s")


@pytest.mark.parametrize(
    "ratios",
    [
        {"downsampling_ratios": [1, 10]},  # a stride of 1 makes one frame more
        {"upsampling_ratios": [5, 3]},
        {"downsampling_ratios": []},
    ],
)
def test_strides_that_do_not_fit_are_refused(
    folder: Path, tmp_path: Path, ratios: dict[str, list[int]]
) -> None:
    other = Path(shutil.copytree(folder, tmp_path / "other"))
    config = json.loads((other / "config.json").read_text())
    (other / "config.json").write_text(json.dumps({**config, **ratios}))
    with pytest.raises(InvalidInput, match="strides"):
        describe(f"hf:{other}")
