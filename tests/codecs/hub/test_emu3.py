"""Emu3's VQ-VAE on pictures: what the library says, alone and out of a whole Emu3."""

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
    "latent_channels": 4, "codebook_size": 64, "temporal_downsample_factor": 2,
    "attn_resolutions": [1], "hidden_size": 64,
}  # fmt: skip


@pytest.fixture(scope="session")
def library() -> Any:
    torch.manual_seed(3)
    return transformers.Emu3VQVAE(transformers.Emu3VQVAEConfig(**SMALL)).eval()


@pytest.fixture(scope="session")
def folder(library: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a small VQ-VAE alone."""
    found = tmp_path_factory.mktemp("emu3") / "small-vq"
    library.save_pretrained(found)
    return found


@pytest.fixture(scope="session")
def emu3(library: Any) -> Any:
    """Return a small Emu3 that holds the same VQ-VAE."""
    config = transformers.Emu3Config(
        text_config={
            "hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1,
            "num_attention_heads": 2, "num_key_value_heads": 2, "vocab_size": 50,
            "pad_token_id": 0,
        },
        vq_config=SMALL, vocabulary_map={"<image>": 5, "<|extra_200|>": 6},
    )  # fmt: skip
    model = transformers.Emu3ForConditionalGeneration(config)
    model.model.vqmodel.load_state_dict(library.state_dict())
    return model


@pytest.mark.parametrize("size", [(1, 3), (8, 8), (9, 17)])
def test_codes_and_pictures_are_the_librarys(
    folder: Path, library: Any, size: tuple[int, int], picture: Picture
) -> None:
    codec, image = load(f"hf:{folder}", device="cpu"), picture(*size)
    tokens = codec.encode([image])[0]
    codec.check(tokens)
    (height, width), grid = size, (-(-size[0] // 2), -(-size[1] // 2))
    assert tokens.grid == grid
    x = scaled(image.pixels)
    with torch.no_grad():
        codes = library.encode(x, torch.tensor([x.shape[2:]])).image_tokens[0]
        sample = library.decode(codes[None])
    assert np.array_equal(tokens.ids[0], codes.numpy().ravel())
    back = codec.decode([tokens])[0]
    assert np.array_equal(back.pixels, seen(sample)[:height, :width])
    assert read_tokens(write_tokens(tokens, codec), codec=codec).tokens == tokens


@pytest.mark.parametrize("prefix", ["model.vqmodel.", "vqmodel."])
def test_a_whole_emu3_gives_the_same(
    folder: Path, emu3: Any, prefix: str, tmp_path: Path, picture: Picture
) -> None:
    from safetensors.torch import save_file

    tensors = emu3.state_dict()
    emu3.config.save_pretrained(tmp_path)
    renamed = {k.replace("model.vqmodel.", prefix): v.clone() for k, v in tensors.items()}
    save_file(renamed, tmp_path / "model.safetensors")
    image = picture(7, 10)
    alone, part = (load(f"hf:{each}", device="cpu") for each in (folder, tmp_path))
    ours, theirs = alone.encode([image])[0], part.encode([image])[0]
    assert np.array_equal(ours.ids, theirs.ids)
    assert len(set(ours.ids[0])) > 5
    assert alone.decode([ours]) == part.decode([theirs])
    assert part.spec.weight_bytes == alone.spec.weight_bytes


def test_tokens_of_three_frames_are_refused(tmp_path: Path, folder: Path) -> None:
    for file in folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    config = transformers.Emu3VQVAEConfig(**{**SMALL, "temporal_downsample_factor": 3})
    config.save_pretrained(tmp_path)
    with pytest.raises(InvalidInput, match="no power of two"):
        load(f"hf:{tmp_path}", device="cpu")


def test_batches_of_mixed_sizes_give_the_codes_of_each(folder: Path, picture: Picture) -> None:
    check_batches(load(folder, device="cpu"), picture)
