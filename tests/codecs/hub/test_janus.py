"""Janus's VQ-VAE: codes and pictures are the library's, alone and out of a whole Janus."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from omnicodec.codecs import Image, InvalidInput, load
from omnicodec.codecs.stream.omc import read_tokens, write_tokens

from .pixels import check_batches, scaled, seen

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

Picture = Callable[..., Image]

SMALL = {
    "base_channels": 32, "channel_multiplier": [1, 2], "num_res_blocks": 1, "embed_dim": 4,
    "latent_channels": 4, "num_embeddings": 64, "num_patches": 4, "projection_dim": 8,
    "image_token_embed_dim": 16,
}  # fmt: skip


@pytest.fixture(scope="session")
def library() -> Any:
    torch.manual_seed(3)
    model = transformers.JanusVQVAE(transformers.JanusVQVAEConfig(**SMALL)).eval()
    model.quantize.embedding.weight.data.normal_(std=0.5)
    for layer in (model.quant_conv, model.encoder.conv_out, model.decoder.conv_out):
        layer.weight.data.normal_(std=0.3)
    return model


@pytest.fixture(scope="session")
def folder(library: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a small VQ-VAE alone."""
    found = tmp_path_factory.mktemp("janus") / "small-vq"
    library.save_pretrained(found)
    return found


@pytest.fixture(scope="session")
def whole(library: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a small Janus that holds the same VQ-VAE."""
    small = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = transformers.JanusConfig(
        text_config={"model_type": "llama", **small, "intermediate_size": 16, "vocab_size": 50},
        vision_config={**small, "image_size": 16, "patch_size": 8, "projection_dim": 16},
        vq_config=SMALL,
    )
    model = transformers.JanusForConditionalGeneration(config)
    model.model.vqmodel.load_state_dict(library.state_dict())
    found = tmp_path_factory.mktemp("janus") / "small-janus"
    model.save_pretrained(found)
    return found


@pytest.mark.parametrize("size", [(1, 3), (8, 8), (9, 17)])
def test_codes_and_pictures_are_the_librarys(
    folder: Path, library: Any, size: tuple[int, int], picture: Picture
) -> None:
    codec, image = load(f"hf:{folder}", device="cpu"), picture(*size)
    tokens = codec.encode([image])[0]
    codec.check(tokens)
    (height, width), grid = size, (-(-size[0] // 2), -(-size[1] // 2))
    assert tokens.grid == grid
    library.quantize.quant_state_dims = list(grid)  # the library's own is for one size only
    with torch.no_grad():
        codes = library.encode(scaled(image.pixels)).image_tokens
        sample = library.decode(codes[None])
    assert np.array_equal(tokens.ids[0], codes.numpy())
    back = codec.decode([tokens])[0]
    assert np.array_equal(back.pixels, seen(sample)[:height, :width])
    assert read_tokens(write_tokens(tokens, codec), codec=codec).tokens == tokens


def test_a_whole_janus_gives_the_same(folder: Path, whole: Path, picture: Picture) -> None:
    image = picture(7, 10)
    alone, part = (load(f"hf:{each}", device="cpu") for each in (folder, whole))
    ours, theirs = alone.encode([image])[0], part.encode([image])[0]
    assert np.array_equal(ours.ids, theirs.ids)
    assert len(set(ours.ids[0])) > 5
    assert alone.decode([ours]) == part.decode([theirs])
    assert part.spec.weight_bytes == alone.spec.weight_bytes


def test_a_whole_janus_of_halves_is_opened_in_float32(
    whole: Path, tmp_path: Path, picture: Picture
) -> None:
    model = transformers.JanusForConditionalGeneration.from_pretrained(whole, dtype=torch.bfloat16)
    model.save_pretrained(tmp_path / "janus")
    model.model.vqmodel.save_pretrained(tmp_path / "alone")
    alone, part = (load(f"hf:{tmp_path / each}", device="cpu") for each in ("alone", "janus"))
    assert {each.dtype for each in part._model.parameters()} == {torch.float32}
    image = picture(7, 10)
    ours, theirs = alone.encode([image])[0], part.encode([image])[0]
    assert np.array_equal(ours.ids, theirs.ids)
    assert alone.decode([ours]) == part.decode([theirs])


def test_a_part_without_its_configuration_is_refused(tmp_path: Path, whole: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "janus"}')
    (tmp_path / "model.safetensors").write_bytes((whole / "model.safetensors").read_bytes())
    with pytest.raises(InvalidInput, match="no vq_config"):
        load(f"hf:{tmp_path}", device="cpu")


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [("num_res_blocks", 2, "is missing, and"), ("num_embeddings", 65, r"embedding\.weight is")],
)
def test_a_part_of_another_shape_is_refused(
    tmp_path: Path, whole: Path, name: str, value: int, said: str
) -> None:
    config = transformers.JanusConfig.from_pretrained(whole)
    setattr(config.vq_config, name, value)
    config.save_pretrained(tmp_path)
    (tmp_path / "model.safetensors").write_bytes((whole / "model.safetensors").read_bytes())
    with pytest.raises(InvalidInput, match=said):
        load(f"hf:{tmp_path}", device="cpu")


@pytest.mark.parametrize(
    "stated", ['{"image_std": [1, 0, 1]}', '{"image_mean": [1]}', '{"rescale_factor": "x"}']
)
def test_a_wrong_pixel_scale_is_refused(tmp_path: Path, folder: Path, stated: str) -> None:
    for file in folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / "preprocessor_config.json").write_text(stated)
    with pytest.raises(InvalidInput, match=r"preprocessor_config\.json"):
        load(f"hf:{tmp_path}", device="cpu")


def test_batches_of_mixed_sizes_give_the_codes_of_each(folder: Path, picture: Picture) -> None:
    check_batches(load(folder, device="cpu"), picture)
