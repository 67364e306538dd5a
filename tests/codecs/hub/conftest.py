"""Small published codecs with random weights, made by their own libraries."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from omnicodec.codecs import Audio, Image
from omnicodec.codecs.hub import opening


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep priors away from the user's cache."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMNICODEC_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="module", autouse=True)
def forgotten() -> Iterator[None]:
    """Close what a file's tests have opened: a server of other tests would list it."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("_found", "_opened", "_by_name"):
            patch.setattr(opening, name, {})
        yield


@pytest.fixture(scope="session")
def sound() -> Callable[..., Audio]:
    """Return a function that makes a clip of noise and tones that become louder."""

    def make(samples: int, rate: int, channels: int = 1, seed: int = 0) -> Audio:
        draw = np.random.default_rng(seed)
        time = np.arange(samples) / rate
        tone = np.sin(2 * np.pi * draw.uniform(100, 900, (channels, 1)) * time)
        loud = np.linspace(0.05, 0.5, samples)
        values = loud * (tone + 0.3 * draw.standard_normal((channels, samples)))
        return Audio(values.astype(np.float32), rate)

    return make


@pytest.fixture(scope="session")
def make_encodec(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Return a function that saves a small EnCodec and returns its folder."""

    def make(**options: Any) -> Path:
        torch = pytest.importorskip("torch")
        from transformers import EncodecConfig, EncodecModel

        small = {
            "num_filters": 4, "hidden_size": 16, "codebook_size": 64, "upsampling_ratios": [4, 2],
            "sampling_rate": 8000, "target_bandwidths": [12.0, 24.0], "num_lstm_layers": 1,
        }  # fmt: skip
        torch.manual_seed(7)
        model = EncodecModel(EncodecConfig(**{**small, **options})).eval()
        for layer in model.quantizer.layers:  # the library starts with all zeros
            layer.codebook.embed.normal_(std=0.3)
        folder = tmp_path_factory.mktemp("encodec") / options.pop("name", "small-encodec")
        model.save_pretrained(folder)
        (folder / "README.md").write_text("---\nlicense: mit\ntags:\n- audio\n---\n# A codec\n")
        return folder

    return make


@pytest.fixture(scope="session")
def mono_encodec(make_encodec: Callable[..., Path]) -> Path:
    """Return the folder of a causal EnCodec of one channel, as the one of 24 kHz is."""
    return make_encodec()


@pytest.fixture(scope="session")
def stereo_encodec(make_encodec: Callable[..., Path]) -> Path:
    """Return that of one with two channels, segments and loudness, as the one of 48 kHz is."""
    return make_encodec(
        audio_channels=2, normalize=True, chunk_length_s=0.1, overlap=0.01,
        norm_type="time_group_norm", use_causal_conv=False,
    )  # fmt: skip


@pytest.fixture(scope="session")
def picture() -> Callable[..., Image]:
    """Return a function that makes a picture of noise over a slope; each is another one."""
    draw = np.random.default_rng(5)

    def make(height: int, width: int) -> Image:
        slope = np.linspace(0, 128, width)[None, :, None]
        return Image((slope + draw.uniform(0, 127, (height, width, 3))).astype(np.uint8))

    return make
