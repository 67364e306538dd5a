"""Weights of a toy `image/vq`: untrained, with a prior that is fitted to smooth tokens."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file

from omnicodec.models import weights
from omnicodec.models.image.masked import MaskedTokens, MaskedTokensConfig
from omnicodec.models.image.vq import ImageVQ, ImageVQConfig
from omnicodec.service.train.files import write_prior
from omnicodec.service.train.image_vq_prior import (
    ImagePriorSettings,
    fit_image_prior,
)
from omnicodec.service.train.mixer import MixerSettings

LEVELS = (4, 4, 3)
TOY = ImageVQConfig(
    patch=8, levels=LEVELS, encoder_channels=16, encoder_blocks=1, decoder_channels=16,
    decoder_blocks=1, head_channels=8, head_blocks=1, expansion=2,
)  # fmt: skip
MASKED = MaskedTokensConfig(levels=LEVELS, channels=8, blocks=2, expansion=1, heads=2, window=4)
SMALL = MixerSettings(counted=9, shipped=8, rates=((5, 1),), recount=False)
SETTINGS = ImagePriorSettings(codebooks={25: 6, 50: 16}, mixer=SMALL, reduced_mixer=SMALL)

Smooth = Callable[[int, int, int], np.ndarray]


def smooth(height: int, width: int, seed: int) -> np.ndarray:
    """Return tokens `(height, width)` whose digits change slowly from place to place."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width] / 6.0
    ids = np.zeros((height, width), np.int32)
    for level in LEVELS[::-1]:
        a, b, phase = rng.uniform(-1, 1, 3)
        wave = np.sin(a * x + b * y + 6 * phase) + rng.normal(0, 0.2, y.shape)
        ids = ids * level + ((wave + 1.5) / 3 * level).astype(int).clip(0, level - 1)
    return ids.astype(np.int32)


@pytest.fixture(scope="session")
def smooth_tokens() -> Smooth:
    return smooth


def write_tensors(folder: Path, network: torch.nn.Module) -> None:
    folder.mkdir(exist_ok=True)
    tensors = {name: tensor.numpy() for name, tensor in network.state_dict().items()}
    save_file(weights.quantize_rows(tensors), folder / "model.safetensors")


@pytest.fixture(scope="session")
def toy_prior() -> dict[str, np.ndarray]:
    pictures = [[smooth(24, 30, seed)] for seed in range(12)]
    matrix = np.random.default_rng(0).normal(size=(16, len(LEVELS)))
    return fit_image_prior(pictures, LEVELS, matrix, 512, SETTINGS, lambda **_: None)


@pytest.fixture(scope="session")
def toy_folder(toy_prior: dict[str, np.ndarray], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("toy") / "export"
    torch.manual_seed(0)
    write_tensors(folder, ImageVQ(TOY))
    (folder / "config.json").write_text(
        json.dumps({"codec": "image/vq", "version": 7, **TOY.to_dict()})
    )
    write_prior(folder, toy_prior)
    network = MaskedTokens(MASKED)
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, 0, 0.3)
    write_tensors(folder / "masked", network)
    (folder / "masked" / "config.json").write_text(json.dumps(MASKED.to_dict()))
    return folder
