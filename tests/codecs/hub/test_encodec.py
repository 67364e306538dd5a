"""EnCodec: what its own library says is what comes out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from omnicodec.codecs import Audio, InvalidInput, Tokens, load
from omnicodec.codecs.stream.omc import read_tokens, write_tokens

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

Sound = Callable[..., Audio]

LENGTHS = (1, 7, 8, 800, 801, 1600, 3333)


def library(folder: Path) -> Any:
    return transformers.EncodecModel.from_pretrained(folder).eval()


def theirs(model: Any, clip: Audio, bandwidth: float) -> tuple[Any, np.ndarray, np.ndarray]:
    """Return what the library makes of a clip: encoded, codes `(K, N)`, and sound."""
    with torch.no_grad():
        x = torch.from_numpy(clip.samples.copy())[None]
        encoded = model.encode(x, bandwidth=bandwidth)
        heard = model.decode(
            encoded.audio_codes,
            encoded.audio_scales,
            last_frame_pad_length=encoded.last_frame_pad_length,
        ).audio_values[0, :, : clip.samples.shape[1]]
    codes = encoded.audio_codes[:, 0].numpy()  # (segments, K, frames)
    codes = np.concatenate(list(codes), 1)
    cut = encoded.last_frame_pad_length
    return encoded, codes[:, : codes.shape[1] - cut], heard.numpy()


@pytest.mark.parametrize("samples", LENGTHS)
@pytest.mark.parametrize(("bandwidth", "books"), [(12.0, 2), (24.0, 4)])
def test_mono_is_the_librarys(
    mono_encodec: Path, sound: Sound, samples: int, bandwidth: float, books: int
) -> None:
    codec, clip = load(f"hf:{mono_encodec}", device="cpu"), sound(samples, 8000)
    _, codes, heard = theirs(library(mono_encodec), clip, bandwidth)
    tokens = codec.encode([clip], quality=books)[0]
    assert np.array_equal(tokens.ids[:books], codes)
    assert not tokens.ids[books:].any()
    assert np.array_equal(codec.decode([tokens])[0].samples, heard)


BLOCK = 8000


@pytest.fixture(scope="module")
def causal(mono_encodec: Path, make_encodec: Callable[..., Path]) -> list[tuple[Any, Any]]:
    """Return causal codecs of several kinds, each with its library's model."""
    folders = [
        mono_encodec,
        make_encodec(
            pad_mode="replicate", num_residual_layers=2, dilation_growth_rate=3,
            num_lstm_layers=2, use_conv_shortcut=False, audio_channels=2,
        ),
        make_encodec(pad_mode="constant", upsampling_ratios=[5, 2], num_lstm_layers=2),
        # Blocks are longer than a second where the network pads by more.
        make_encodec(sampling_rate=48, target_bandwidths=[0.072, 0.144]),
    ]  # fmt: skip
    return [(load(f"hf:{folder}", device="cpu"), library(folder)) for folder in folders]


@pytest.mark.parametrize("extra", [-1, 0, 1, 7, 8, 9, BLOCK + 3, 5 * BLOCK - 4])
def test_many_blocks_are_the_librarys_whole(
    causal: list[tuple[Any, Any]], sound: Sound, extra: int
) -> None:
    for codec, model in causal:
        size = codec._cuts()[0]
        clip = sound(size + extra * size // BLOCK, codec._rate, codec._channels)
        assert codec.spec.streaming
        for bandwidth, books in zip(
            model.config.target_bandwidths, codec.spec.qualities, strict=True
        ):
            _, codes, heard = theirs(model, clip, bandwidth)
            tokens = codec.encode([clip], quality=books)[0]
            assert np.array_equal(tokens.ids[:books], codes)
            found = codec.decode([tokens])[0].samples
            assert np.allclose(found, heard, atol=1e-6)


@pytest.mark.parametrize(
    "options",
    [
        {"use_causal_conv": False},
        {"norm_type": "time_group_norm"},
        {"normalize": True},
        {"trim_right_ratio": 0.5},
        {"pad_mode": "circular"},
    ],
)
def test_what_is_not_causal_runs_whole(
    make_encodec: Callable[..., Path], sound: Sound, options: dict[str, Any]
) -> None:
    folder, clip = make_encodec(**options), sound(2 * BLOCK + 77, 8000)
    codec = load(f"hf:{folder}", device="cpu")
    assert not codec.spec.streaming
    _, codes, _ = theirs(library(folder), clip, 24.0)
    tokens = codec.encode([clip])[0]
    assert np.array_equal(tokens.ids[:, codec._head :], codes)


def test_weights_with_a_norm_keep_their_bits(mono_encodec: Path) -> None:
    ours = load(f"hf:{mono_encodec}", device="cpu")._model
    model = library(mono_encodec)
    layers = [name for name, m in model.named_modules() if hasattr(m, "conv")]
    assert len(layers) > 10
    for name in layers:
        fused, theirs = (m.get_submodule(name).conv for m in (ours, model))
        assert not torch.nn.utils.parametrize.is_parametrized(fused)
        assert torch.equal(fused.weight, theirs.weight)


@pytest.mark.parametrize("samples", LENGTHS)
@pytest.mark.parametrize(("bandwidth", "books"), [(12.0, 2), (24.0, 4)])
def test_stereo_in_segments_is_the_librarys(
    stereo_encodec: Path, sound: Sound, samples: int, bandwidth: float, books: int
) -> None:
    codec, clip = load(f"hf:{stereo_encodec}", device="cpu"), sound(samples, 8000, 2)
    encoded, codes, heard = theirs(library(stereo_encodec), clip, bandwidth)
    tokens = codec.encode([clip], quality=books)[0]
    frames = tokens.ids[:books, ~_heads(codec, samples)]
    assert np.array_equal(frames, codes)
    assert len(encoded.audio_scales) == _heads(codec, samples).sum() / codec._head
    assert np.array_equal(codec.decode([tokens])[0].samples, heard)


def test_segments_that_end_together(make_encodec: Callable[..., Path], sound: Sound) -> None:
    # The last but one is decoded to more than the last: the library cannot join these.
    folder = make_encodec(chunk_length_s=0.1, overlap=0.013, normalize=True)
    codec = load(f"hf:{folder}", device="cpu")
    for samples in (790, 795, 799, 800, 801, 1584, 3 * 789 + 5):
        clip = sound(samples, 8000)
        tokens = codec.encode([clip])[0]
        back = codec.decode([tokens])[0]
        assert back.samples.shape == clip.samples.shape
        assert np.isfinite(back.samples).all()


def _heads(codec: Any, samples: int) -> np.ndarray:
    """Return which columns hold loudness."""
    parts = []
    for start, stop in codec._segments(samples):
        count = codec._columns(stop - start)
        parts.append(np.arange(count) < codec._head)
    return np.concatenate(parts)


@pytest.mark.parametrize("which", ["mono_encodec", "stereo_encodec"])
@pytest.mark.parametrize(
    ("samples", "rate", "channels"), [(0, 8000, 1), (900, 8000, 3), (1111, 11025, 2), (5, 48000, 1)]
)
def test_own_size_and_rate_come_back(
    which: str,
    samples: int,
    rate: int,
    channels: int,
    sound: Sound,
    request: pytest.FixtureRequest,
) -> None:
    codec = load(f"hf:{request.getfixturevalue(which)}", device="cpu")
    clip = sound(samples, rate, channels)
    tokens = codec.encode([clip])[0]
    codec.check(tokens)
    back = codec.decode([tokens])[0]
    assert back.samples.shape == clip.samples.shape
    assert back.sample_rate == rate
    assert read_tokens(write_tokens(tokens, codec), codec=codec).tokens == tokens


@pytest.mark.parametrize("which", ["mono_encodec", "stereo_encodec"])
def test_batches_of_mixed_lengths_give_the_codes_of_each(
    which: str, sound: Sound, request: pytest.FixtureRequest
) -> None:
    codec = load(f"hf:{request.getfixturevalue(which)}", device="cpu")
    clips = [sound(n, 8000, 1 + n % 2, seed=n) for n in (300, 1601, 300, 0, 1601, 17)]
    alone = [codec.encode([clip])[0] for clip in clips]
    assert codec.encode(clips) == alone
    assert codec.decode(alone) == [codec.decode([tokens])[0] for tokens in alone]


def test_loudness_that_is_no_number_is_refused(stereo_encodec: Path, sound: Sound) -> None:
    codec = load(f"hf:{stereo_encodec}", device="cpu")
    tokens = codec.encode([sound(500, 8000, 2)])[0]
    ids = tokens.ids.copy()
    ids[:, :1] = 63
    wrong = Tokens(tokens.codec, tokens.fingerprint, ids, tokens.grid, tokens.extent)
    with pytest.raises(InvalidInput, match="loudness"):
        codec.decode([wrong])


@pytest.mark.parametrize("length", [1, 2, 3, 1000, 1001, (1 << 24) + 1, (1 << 28) + 3])
def test_padding_is_exact_where_float32_is_not(mono_encodec: Path, length: int) -> None:
    name = "_get_extra_padding_for_conv1d"
    layers = [m for m in load(f"hf:{mono_encodec}")._model.modules() if hasattr(m, name)]
    assert {int(layer.stride) for layer in layers} == {1, 2, 4}
    hidden = torch.empty(1, 1, length, device="meta")
    for layer in layers:
        padding = getattr(layer, name)(hidden)
        assert (length + padding) % int(layer.stride) == 0
        assert 0 <= padding < int(layer.stride)
        if length < 1 << 24:
            assert padding == getattr(type(layer), name)(layer, hidden)
