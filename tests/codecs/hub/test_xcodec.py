"""X-Codec: what its own library says is what comes out."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from omnicodec.codecs import Audio, Codec, InvalidInput, describe, load
from omnicodec.codecs.stream.omc import read_tokens, write_tokens

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

Sound = Callable[..., Audio]

HOP = 20
LENGTHS = (1, 20, 21, 1617)
KBPS = {1: 2.4, 2: 4.8, 4: 9.6}  # 6 bits, 400 times a second

SLOW = 200  # Hz: chunks of 30 s are short
CHUNK = 6000


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Save a small one whose networks have frames of 20 samples; one stride is odd."""
    config = transformers.XcodecConfig(
        target_bandwidths=list(KBPS.values()), sample_rate=8000, codebook_size=64,
        acoustic_model_config={
            "model_type": "dac", "encoder_hidden_size": 4, "downsampling_ratios": [5, 4],
            "decoder_hidden_size": 16, "upsampling_ratios": [5, 4], "hidden_size": 16,
        },
        semantic_model_config={
            "model_type": "hubert", "hidden_size": 16, "num_hidden_layers": 2,
            "num_attention_heads": 2, "intermediate_size": 32, "conv_dim": [8, 8],
            "conv_kernel": [6, 4], "conv_stride": [5, 4], "num_feat_extract_layers": 2,
            "num_conv_pos_embeddings": 8, "num_conv_pos_embedding_groups": 2,
        },
    )  # fmt: skip
    torch.manual_seed(9)
    model = transformers.XcodecModel(config).eval().requires_grad_(False)
    for layer in model.modules():  # the library starts with all zeros, and small numbers
        if isinstance(layer, torch.nn.Conv1d | torch.nn.Linear) and layer.weight.is_leaf:
            layer.weight.normal_(std=layer.weight[0].numel() ** -0.5)
        elif hasattr(layer, "embed_avg"):
            layer.embed.normal_()
    path = tmp_path_factory.mktemp("xcodec") / "small-xcodec"
    model.save_pretrained(path)
    return path


@pytest.fixture(scope="module")
def library(folder: Path) -> Any:
    return transformers.XcodecModel.from_pretrained(folder).eval()


@pytest.fixture(scope="module")
def codec(folder: Path) -> Codec[Any]:
    return load(f"hf:{folder}", device="cpu")


@pytest.fixture(scope="module")
def slow_folder(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Save the same networks for a rate at which chunks are short."""
    path = Path(shutil.copytree(folder, tmp_path_factory.mktemp("xcodec") / "slow-xcodec"))
    config = json.loads((path / "config.json").read_text())
    bandwidths = [kbps * SLOW / 8000 for kbps in KBPS.values()]
    config |= {"sample_rate": SLOW, "target_bandwidths": bandwidths}
    (path / "config.json").write_text(json.dumps(config))
    return path


@pytest.fixture(scope="module")
def slow(slow_folder: Path) -> Codec[Any]:
    return load(f"hf:{slow_folder}", device="cpu")


@pytest.fixture(scope="module")
def slow_library(slow_folder: Path) -> Any:
    return transformers.XcodecModel.from_pretrained(slow_folder).eval()


def theirs(model: Any, clip: Audio, books: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the library's codes `(books, N)` of a mono clip, and what it decodes of them."""
    rate = clip.sample_rate
    extractor = transformers.DacFeatureExtractor(sampling_rate=rate, hop_length=HOP)
    inputs = extractor(clip.samples[0], sampling_rate=rate, return_tensors="pt")
    kbps = KBPS[books] * rate / 8000
    with torch.no_grad():
        codes = model.encode(inputs["input_values"], bandwidth=kbps).audio_codes
        heard = model.decode(codes).audio_values
    return codes[0].numpy(), heard[0, :, : clip.samples.shape[1]].numpy()


@pytest.mark.parametrize("samples", LENGTHS)
@pytest.mark.parametrize("books", [1, 4])
def test_codes_and_sound_are_the_librarys(
    codec: Codec[Any], library: Any, sound: Sound, samples: int, books: int
) -> None:
    clip = sound(samples, 8000)
    codes, heard = theirs(library, clip, books)
    tokens = codec.encode([clip], quality=books)[0]
    assert codes.shape[0] == books
    assert np.array_equal(tokens.ids[:books], codes)
    assert not tokens.ids[books:].any()
    assert np.array_equal(codec.decode([tokens])[0].samples, heard)


def test_codes_differ(codec: Codec[Any], sound: Sound) -> None:
    tokens = codec.encode([sound(4000, 8000)])[0]
    assert all(len(np.unique(row)) > 8 for row in tokens.ids)


def test_qualities_are_those_of_the_bandwidths(codec: Codec[Any]) -> None:
    assert codec.spec.qualities == tuple(KBPS)


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


def test_networks_that_do_not_keep_step_are_refused(folder: Path, tmp_path: Path) -> None:
    other = Path(shutil.copytree(folder, tmp_path / "other"))
    config = json.loads((other / "config.json").read_text())
    config["semantic_model_config"]["conv_stride"] = [5, 5]
    (other / "config.json").write_text(json.dumps(config))
    with pytest.raises(InvalidInput, match="other lengths"):
        describe(f"hf:{other}")


@pytest.mark.parametrize(
    ("samples", "stops"),
    [
        (CHUNK, [CHUNK]),
        (CHUNK + 1, [3000, CHUNK + 1]),  # 301 frames
        (2 * CHUNK, [CHUNK, 2 * CHUNK]),
        (12_105, [4040, 8080, 12_105]),  # 606 frames
    ],
)
def test_long_clips_are_cut_in_even_chunks(
    slow: Codec[Any], slow_library: Any, sound: Sound, samples: int, stops: list[int]
) -> None:
    clip = sound(samples, SLOW)
    tokens = slow.encode([clip])[0]
    assert tokens.extent["chunk"] == CHUNK
    parts = [clip.samples[:, a:b] for a, b in zip([0, *stops], stops, strict=False)]
    codes = [theirs(slow_library, Audio(part, SLOW), 4)[0] for part in parts]
    assert np.array_equal(tokens.ids, np.concatenate(codes, 1))


def test_decoding_goes_over_the_borders_of_chunks(
    slow: Codec[Any], slow_library: Any, sound: Sound
) -> None:
    clip = sound(6605, SLOW)
    tokens = slow.encode([clip], quality=2)[0]
    with torch.no_grad():
        codes = torch.from_numpy(tokens.ids[:2].astype(np.int64))[None]
        heard = slow_library.decode(codes).audio_values[0, :, :6605].numpy()
    back = slow.decode([tokens])[0].samples
    assert np.allclose(back, heard, rtol=0, atol=1e-4)
    other = replace(tokens, extent={**tokens.extent, "chunk": 7 * HOP})
    assert np.array_equal(slow.decode([other])[0].samples, back)


def test_long_clips_of_a_batch_give_the_codes_of_each(slow: Codec[Any], sound: Sound) -> None:
    clips = [sound(n, SLOW, 1 + n % 2, seed=n) for n in (6020, 6421, 6020, 300)]
    alone = [slow.encode([clip])[0] for clip in clips]
    assert slow.encode(clips) == alone
    back = slow.decode(alone)
    assert back == [slow.decode([tokens])[0] for tokens in alone]
    assert [item.samples.shape for item in back] == [clip.samples.shape for clip in clips]
    stream = write_tokens(alone[1], slow)
    assert read_tokens(stream, codec=slow).tokens == alone[1]


@pytest.mark.parametrize("chunk", [0, -HOP, HOP + 1, 1 << 31, 1 << 62])
def test_chunks_that_there_cannot_be_are_refused(
    slow: Codec[Any], sound: Sound, chunk: int
) -> None:
    tokens = slow.encode([sound(300, SLOW)])[0]
    with pytest.raises(InvalidInput, match=f"no chunks of {chunk} samples"):
        slow.decode([replace(tokens, extent={**tokens.extent, "chunk": chunk})])


def test_the_chunk_belongs_to_the_extent(slow: Codec[Any], sound: Sound) -> None:
    tokens = slow.encode([sound(300, SLOW)])[0]
    extent = {name: n for name, n in tokens.extent.items() if name != "chunk"}
    with pytest.raises(InvalidInput, match="needs the extent"):
        slow.decode([replace(tokens, extent=extent)])
    assert slow.spec.details["chunks"].startswith("of 6000 samples (30 s) at most")


@pytest.mark.parametrize(
    "ratios", [{"upsampling_ratios": [5, 5]}, {"downsampling_ratios": [1, 20]}]
)
def test_acoustic_strides_that_do_not_fit_are_refused(
    folder: Path, tmp_path: Path, ratios: dict[str, list[int]]
) -> None:
    other = Path(shutil.copytree(folder, tmp_path / "other"))
    config = json.loads((other / "config.json").read_text())
    config["acoustic_model_config"] |= ratios
    (other / "config.json").write_text(json.dumps(config))
    with pytest.raises(InvalidInput, match="strides"):
        describe(f"hf:{other}")
