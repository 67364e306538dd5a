"""Chameleon's VQ-VAE: codes are the library's, alone and out of a whole Chameleon."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from omnicodec.codecs import Image, Unavailable, load
from omnicodec.codecs.stream.omc import read_tokens, write_tokens

from .pixels import check_batches, padded

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

Picture = Callable[..., Image]

SMALL = {
    "base_channels": 32, "channel_multiplier": [1, 2], "num_res_blocks": 1, "embed_dim": 4,
    "latent_channels": 4, "num_embeddings": 64, "resolution": 16,
}  # fmt: skip


@pytest.fixture(scope="session")
def library() -> Any:
    torch.manual_seed(3)
    model = transformers.ChameleonVQVAE(transformers.ChameleonVQVAEConfig(**SMALL)).eval()
    model.quantize.embedding.weight.data.normal_(std=0.5)
    for layer in (model.quant_conv, model.encoder.conv_out):
        layer.weight.data.normal_(std=0.5)
    return model


@pytest.fixture(scope="session")
def folder(library: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a small VQ-VAE alone."""
    found = tmp_path_factory.mktemp("chameleon") / "small-vq"
    library.save_pretrained(found)
    return found


@pytest.fixture(scope="session")
def whole(library: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a small Chameleon that holds the same VQ-VAE, in several files."""
    config = transformers.ChameleonConfig(
        vq_config=SMALL, hidden_size=64, intermediate_size=16, num_hidden_layers=1,
        num_attention_heads=2, num_key_value_heads=2, vocab_size=400,
        vocabulary_map={"<image>": 5} | {f"IMGIMG{chr(65 + i)}Z": 10 + i for i in range(9)},
    )  # fmt: skip
    model = transformers.ChameleonForConditionalGeneration(config)
    model.model.vqmodel.load_state_dict(library.state_dict())
    found = tmp_path_factory.mktemp("chameleon") / "small-chameleon"
    model.save_pretrained(found, max_shard_size="100KB")
    return found


def theirs(library: Any, image: Image, pixels: Callable[[Any], Any]) -> np.ndarray:
    """Return the library's codes of a picture, padded to whole tokens."""
    with torch.no_grad():
        return library.encode(pixels(padded(image.pixels))).image_tokens.numpy().ravel()


@pytest.mark.parametrize("size", [(1, 3), (8, 12), (9, 17)])
def test_codes_are_the_librarys(
    folder: Path, library: Any, size: tuple[int, int], picture: Picture
) -> None:
    codec, image = load(f"hf:{folder}", device="cpu"), picture(*size)
    tokens = codec.encode([image])[0]
    codec.check(tokens)
    assert tokens.grid == (-(-size[0] // 2), -(-size[1] // 2))
    assert np.array_equal(tokens.ids[0], theirs(library, image, lambda x: x * 0.0078 - 1))
    assert read_tokens(write_tokens(tokens, codec), codec=codec).tokens == tokens


def test_a_whole_chameleon_gives_the_same_codes(
    folder: Path, whole: Path, picture: Picture
) -> None:
    assert len(list(whole.glob("*.safetensors"))) > 1
    image = picture(13, 20)
    alone, part = (load(f"hf:{each}", device="cpu") for each in (folder, whole))
    found = part.encode([image])[0]
    assert np.array_equal(found.ids, alone.encode([image])[0].ids)
    assert part.spec.weight_bytes == alone.spec.weight_bytes
    assert len(set(found.ids[0])) > 5


def test_files_without_its_tensors_are_not_needed(
    whole: Path, tmp_path: Path, picture: Picture
) -> None:
    index = json.loads((whole / "model.safetensors.index.json").read_text())["weight_map"]
    needed = {file for name, file in index.items() if name.startswith("model.vqmodel.")}
    assert needed < set(index.values())
    some = tmp_path / whole.name
    some.mkdir()
    for name in (*needed, "config.json", "model.safetensors.index.json"):
        (some / name).write_bytes((whole / name).read_bytes())
    image = picture(8, 8)
    first, second = (load(f"hf:{each}", device="cpu") for each in (whole, some))
    assert first.encode([image]) == second.encode([image])


def test_the_folders_own_pixel_scale_is_used(
    folder: Path, library: Any, tmp_path: Path, picture: Picture
) -> None:
    scaled = tmp_path / "scaled"
    library.save_pretrained(scaled)
    stated = {"rescale_factor": 0.002, "image_mean": [0.1, 0.2, 0.3], "image_std": [0.5, 1, 2]}
    (scaled / "preprocessor_config.json").write_text(json.dumps(stated))
    image = picture(16, 16)
    tokens = load(f"hf:{scaled}", device="cpu").encode([image])[0]
    mean, deviation = (torch.tensor(stated[k])[:, None, None] for k in ("image_mean", "image_std"))
    codes = theirs(library, image, lambda x: (x * 0.002 - mean) / deviation)
    assert np.array_equal(tokens.ids[0], codes)
    plain = load(f"hf:{folder}", device="cpu").encode([image])[0]
    assert not np.array_equal(tokens.ids, plain.ids)
    assert tokens.fingerprint != plain.fingerprint


def test_batches_of_mixed_sizes_give_the_codes_of_each(folder: Path, picture: Picture) -> None:
    check_batches(load(folder, device="cpu"), picture, decodes=False)


def test_decoding_says_that_there_is_no_decoder(folder: Path, picture: Picture) -> None:
    codec = load(folder, device="cpu")
    with pytest.raises(Unavailable, match="no decoder"):
        codec.decode(codec.encode([picture(4, 4)]))
