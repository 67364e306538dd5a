"""VQModel: what diffusers says is what comes out."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from omnicodec.codecs import Image, InvalidInput, load
from omnicodec.codecs.stream.omc import read_tokens, write_tokens

from .pixels import check_batches, scaled, seen

torch = pytest.importorskip("torch")
diffusers = pytest.importorskip("diffusers")

Picture = Callable[..., Image]

NORMS = ("group", "spatial")


@pytest.fixture(scope="session", params=NORMS)
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a small VQ-GAN, and of one with the spatial norm of MoVQ."""
    return make(tmp_path_factory.mktemp(request.param) / "small-vq", norm_type=request.param)


def make(folder: Path, **options: Any) -> Path:
    small = {
        "down_block_types": ("DownEncoderBlock2D",) * 2,
        "up_block_types": ("UpDecoderBlock2D",) * 2,
        "block_out_channels": (8, 16), "norm_num_groups": 4, "latent_channels": 4,
        "num_vq_embeddings": 64,
    }  # fmt: skip
    if options.get("norm_type") == "spatial":
        small |= {"up_block_types": ("AttnUpDecoderBlock2D",) * 2, "block_out_channels": (32, 64)}
    torch.manual_seed(3)
    model = diffusers.VQModel(**{**small, **options})
    model.quantize.embedding.weight.data.normal_(std=0.5)
    model.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def library(folder: Path) -> Any:
    model = diffusers.VQModel.from_pretrained(folder, low_cpu_mem_usage=False).eval()
    model.register_to_config(lookup_from_codebook=True)
    return model


@pytest.mark.parametrize("size", [(1, 1), (8, 12), (9, 17)])
def test_codes_and_pictures_are_the_librarys(
    folder: Path, library: Any, size: tuple[int, int], picture: Picture
) -> None:
    codec, image = load(f"hf:{folder}", device="cpu"), picture(*size)
    tokens = codec.encode([image])[0]
    codec.check(tokens)
    height, width = size
    grid = -(-height // 2), -(-width // 2)
    assert tokens.grid == grid
    with torch.no_grad():
        codes = library.quantize(library.encode(scaled(image.pixels)).latents)[2][2]
        assert np.array_equal(tokens.ids[0], codes.numpy().ravel())
        sample = library.decode(
            codes.flatten(), force_not_quantize=True, shape=(1, *grid, 4)
        ).sample
    back = codec.decode([tokens])[0]
    assert np.array_equal(back.pixels, seen(sample)[:height, :width])
    assert read_tokens(write_tokens(tokens, codec), codec=codec).tokens == tokens


def test_batches_of_mixed_sizes_give_the_codes_of_each(folder: Path, picture: Picture) -> None:
    check_batches(load(folder, device="cpu"), picture)


def test_other_channels_are_refused(tmp_path: Path) -> None:
    grey = make(tmp_path / "grey", in_channels=1)
    with pytest.raises(InvalidInput, match="1 channels"):
        load(f"hf:{grey}", device="cpu")


def test_weights_of_another_shape_are_refused(tmp_path: Path) -> None:
    wrong = make(tmp_path / "wrong")
    stated = json.loads((wrong / "config.json").read_text())
    (wrong / "config.json").write_text(json.dumps(stated | {"num_vq_embeddings": 65}))
    with pytest.raises(InvalidInput, match=r"quantize\.embedding\.weight is"):
        load(f"hf:{wrong}", device="cpu")


def test_missing_weights_are_refused(tmp_path: Path) -> None:
    wrong = make(tmp_path / "wrong")
    stated = json.loads((wrong / "config.json").read_text())
    (wrong / "config.json").write_text(json.dumps(stated | {"layers_per_block": 2}))
    with pytest.raises(InvalidInput, match="is missing, and"):
        load(f"hf:{wrong}", device="cpu")
