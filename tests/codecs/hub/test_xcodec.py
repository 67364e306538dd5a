"""X-Codec: what its own library says is what comes out."""

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

HOP = 20
LENGTHS = (1, 20, 21, 1617)
KBPS = {1: 2.4, 2: 4.8, 4: 9.6}  # 6 bits, 400 times a second


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


def theirs(model: Any, clip: Audio, books: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the library's codes `(books, N)` of a mono clip, and what it decodes of them."""
    extractor = transformers.DacFeatureExtractor(sampling_rate=8000, hop_length=HOP)
    inputs = extractor(clip.samples[0], sampling_rate=8000, return_tensors="pt")
    with torch.no_grad():
        codes = model.encode(inputs["input_values"], bandwidth=KBPS[books]).audio_codes
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
