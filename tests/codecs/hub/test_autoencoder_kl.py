"""Continuous tokenizers of pictures: values and pictures are those of diffusers."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from omnicodec.codecs import Image, InvalidInput, Tokens, Unavailable, describe, load
from omnicodec.codecs.hub import libraries
from omnicodec.codecs.hub.image_codec import HubImage
from omnicodec.codecs.hub.tiles import tiles
from omnicodec.codecs.stream.omc import read_tokens, write_tokens

from .pixels import check_batches, scaled, seen

torch = pytest.importorskip("torch")
diffusers = pytest.importorskip("diffusers")

Picture = Callable[..., Image]

KL = {
    "down_block_types": ("DownEncoderBlock2D",) * 2, "up_block_types": ("UpDecoderBlock2D",) * 2,
    "block_out_channels": (8, 16), "norm_num_groups": 4, "latent_channels": 4,
}  # fmt: skip
ATTENTION = {"attention_head_dim": 4, "latent_channels": 4}
DC = {
    "encoder_block_types": ("ResBlock", "EfficientViTBlock"),
    "decoder_block_types": ("ResBlock", "EfficientViTBlock"),
    "encoder_block_out_channels": (8, 16), "decoder_block_out_channels": (8, 16),
    "encoder_layers_per_block": (1, 1), "decoder_layers_per_block": (1, 1),
    "encoder_qkv_multiscales": ((), (5,)), "decoder_qkv_multiscales": ((), (5,)),
    "scaling_factor": 0.41407, **ATTENTION,
}  # fmt: skip
TINY = {
    "encoder_block_out_channels": (8, 8), "decoder_block_out_channels": (8, 8),
    "num_encoder_blocks": (1, 1), "num_decoder_blocks": (1, 1),
}  # fmt: skip

# What each class is made with, and what of it `encode` gives.
KINDS: dict[str, tuple[str, dict[str, Any], Callable[[Any], Any]]] = {
    "kl": ("AutoencoderKL", KL, lambda found: found.latent_dist.mode()),
    "kl of 16, no quant_conv": (
        "AutoencoderKL",
        {
            **KL, "latent_channels": 16, "use_quant_conv": False, "use_post_quant_conv": False,
            "scaling_factor": 0.3611, "shift_factor": 0.1159,
        },
        lambda found: found.latent_dist.mode(),
    ),
    "flux2": ("AutoencoderKLFlux2", KL, lambda found: found.latent_dist.mode()),
    "tiny": ("AutoencoderTiny", TINY, lambda found: found.latents),
    "dc": ("AutoencoderDC", DC, lambda found: found.latent),
}  # fmt: skip


def make(folder: Path, kind: str, **options: Any) -> Any:
    """Save a small network of a kind, with random weights, and return it as the library opens it.

    The last bits of a float may depend on how weights lie in memory and on whether they are frozen,
    so it is not the network that was saved.
    """
    name, settings, _ = KINDS[kind]
    torch.manual_seed(3)
    library = getattr(diffusers, name)
    library(**{**settings, **options}).save_pretrained(folder)
    opened = library.from_pretrained(folder, low_cpu_mem_usage=False)
    return opened.eval().requires_grad_(False)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = tmp_path_factory.mktemp("kl") / "small-kl"
    make(found, "kl")
    return found


@pytest.mark.parametrize("size", [(1, 1), (9, 17)])
@pytest.mark.parametrize("kind", KINDS)
def test_values_and_pictures_are_the_librarys(
    tmp_path: Path, kind: str, size: tuple[int, int], picture: Picture
) -> None:
    library = make(tmp_path / "small", kind)
    codec, image = load(f"hf:{tmp_path / 'small'}", device="cpu"), picture(*size)
    width = library.config.latent_channels
    assert codec.spec.soft_width == width
    assert codec.spec.codebook_sizes == ()
    tokens = codec.encode([image])[0]
    codec.check(tokens)
    assert tokens.grid == (-(-size[0] // 2), -(-size[1] // 2))
    assert tokens.ids.shape == (0, len(tokens))
    with torch.no_grad():
        latents = KINDS[kind][2](library.encode(scaled(image.pixels)))
        sample = library.decode(latents).sample
    assert tokens.soft is not None
    assert tokens.soft.dtype == np.float32
    assert np.array_equal(tokens.soft, latents[0].reshape(width, -1).T.numpy())
    assert np.array_equal(codec.decode([tokens])[0].pixels, seen(sample)[: size[0], : size[1]])
    assert read_tokens(write_tokens(tokens, codec), codec=codec).tokens == tokens


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("kl", "value * 0.18215"),
        ("kl of 16, no quant_conv", "(value - 0.1159) * 0.3611"),
        ("flux2", "values of 2x2 tokens side by side, normalised by its bn"),
        ("tiny", "value * 1.0"),
        ("dc", "value * 0.41407"),
    ],
)
def test_the_spec_tells_what_a_diffusion_model_takes(tmp_path: Path, kind: str, said: str) -> None:
    make(tmp_path / "small", kind)
    assert describe(f"hf:{tmp_path / 'small'}").details["a diffusion model takes"].startswith(said)


def test_means_of_latents_are_told(tmp_path: Path) -> None:
    make(tmp_path, "kl", latents_mean=(1, 2, 3, 4), latents_std=(1, 1, 1, 1))
    assert "latents_mean" in describe(f"hf:{tmp_path}").details["a diffusion model takes"]


def test_the_quality_is_the_bits_of_a_value(folder: Path, picture: Picture) -> None:
    codec, image = load(f"hf:{folder}", device="cpu"), picture(10, 14)
    assert codec.spec.qualities == (16, 32)
    short, full = (codec.encode([image], quality=bits)[0] for bits in (16, 32))
    assert short.extent["bits"] == 16
    assert full == codec.encode([image])[0]
    assert full.soft is not None
    assert short.soft is not None
    assert np.array_equal(short.soft, full.soft.astype(np.float16))
    assert codec.token_bits(short) == codec.token_bits(full) / 2 == 16 * 4 * 5 * 7
    for tokens in (short, full):
        assert read_tokens(write_tokens(tokens, codec), codec=codec).tokens == tokens
    widened = Tokens(
        full.codec, full.fingerprint, full.ids, full.grid, full.extent,
        short.soft.astype(np.float32),
    )  # fmt: skip
    assert codec.decode([short]) == codec.decode([widened]) != codec.decode([full])


def test_values_beyond_halves_become_the_largest(tmp_path: Path, picture: Picture) -> None:
    library = make(tmp_path / "small", "tiny")
    library.encoder.layers[-1].weight.data.mul_(1e7)
    library.save_pretrained(tmp_path / "small")
    codec, image = load(f"hf:{tmp_path / 'small'}", device="cpu"), picture(4, 4)
    found = codec.encode([image], quality=16)[0]
    codec.check(found)
    assert found.soft is not None
    assert np.abs(found.soft).max() == np.finfo(np.float16).max


def test_values_that_are_not_finite_are_refused(tmp_path: Path, picture: Picture) -> None:
    library = make(tmp_path / "small", "tiny")
    library.encoder.layers[-1].bias.data[0] = float("nan")
    library.save_pretrained(tmp_path / "small")
    with pytest.raises(InvalidInput, match="not finite"):
        load(f"hf:{tmp_path / 'small'}", device="cpu").encode([picture(4, 4)])


def test_batches_of_mixed_sizes_give_the_values_of_each(folder: Path, picture: Picture) -> None:
    codec = load(folder, device="cpu")
    check_batches(codec, picture)
    nothing = codec.encode([picture(8, 6), picture(0, 4)], width=3)[1]
    assert nothing.values.shape == (0, 4)


def test_pictures_that_are_too_large_to_run_side_by_side_run_in_turn(
    folder: Path, picture: Picture, monkeypatch: pytest.MonkeyPatch
) -> None:
    codec = load(folder, device="cpu")
    images = [picture(8, 6), picture(8, 6), picture(4, 4), picture(4, 4)]
    shapes: list[tuple[int, ...]] = []
    encode, decode = codec._encode_batch, codec._decode_batch

    def encoded(batch: Any, books: int) -> Any:
        shapes.append(tuple(batch.shape))
        return encode(batch, books)

    def decoded(codes: Any) -> Any:
        shapes.append(tuple(codes.shape))
        return decode(codes)

    monkeypatch.setattr(codec, "_encode_batch", encoded)
    monkeypatch.setattr(codec, "_decode_batch", decoded)
    monkeypatch.setattr(codec, "at_once", 2 * 4 * 4)
    tokens = codec.encode(images, width=2)
    assert shapes == [(1, 3, 8, 6), (1, 3, 8, 6), (2, 3, 4, 4)]
    shapes.clear()
    back = codec.decode(tokens, width=2)
    assert shapes == [(1, 4, 4, 3), (1, 4, 4, 3), (2, 4, 2, 2)]
    assert tokens[:2] == codec.encode(images[:2])
    assert back[:2] == codec.decode(tokens[:2])


def test_a_large_picture_is_coded_in_tiles(
    folder: Path, picture: Picture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(HubImage, "tile_pixels", 10)  # of 2x2 pixels: tiles of 5x5 tokens
    codec, image = load(folder, device="cpu"), picture(23, 13)
    tokens = codec.encode([image])[0]
    assert tokens.grid == (12, 7)
    assert tokens.extent["tile"] == 5
    values = tokens.values.reshape(12, 7, 4)
    back = codec.decode([tokens])[0]
    boxes = tiles(tokens.grid, 5)
    assert [(box[0].stop - box[0].start, box[1].stop - box[1].start) for box in boxes] == [
        (4, 4), (4, 3), (4, 4), (4, 3), (4, 4), (4, 3),
    ]  # fmt: skip
    for rows, columns in boxes:
        part = np.s_[2 * rows.start : 2 * rows.stop, 2 * columns.start : 2 * columns.stop]
        own = Image(np.ascontiguousarray(image.pixels[part]))
        alone = codec.encode([own])[0]
        assert np.array_equal(values[rows, columns].reshape(-1, 4), alone.values)
        assert np.array_equal(back.pixels[part], codec.decode([alone])[0].pixels)
    assert read_tokens(write_tokens(tokens, codec), codec=codec).tokens == tokens
    as_many = codec.encode([picture(50, 2)])[0]
    assert tiles(as_many.grid, 5) == [(slice(0, 25), slice(0, 1))]  # 25 positions run whole


def test_lost_positions_are_filled_with_those_before(folder: Path, picture: Picture) -> None:
    codec = load(folder, device="cpu")
    tokens = codec.encode([picture(8, 8)])[0]
    lost = np.zeros(16, np.bool_)
    lost[5:7] = True
    soft = tokens.values.copy()
    soft[5:7] = soft[4]
    filled = Tokens(tokens.codec, tokens.fingerprint, tokens.ids, tokens.grid, tokens.extent, soft)
    assert codec.decode([tokens], missing=[lost]) == codec.decode([filled])
    nothing = codec.decode([tokens], missing=[np.ones(16, np.bool_)])[0]
    assert nothing.pixels.shape == (8, 8, 3)


def test_made_up_tokens_are_refused(folder: Path, picture: Picture) -> None:
    codec = load(folder, device="cpu")
    tokens = codec.encode([picture(8, 6)])[0]

    def refused(said: str, **changed: Any) -> None:
        extent = {**tokens.extent, **changed.pop("extent", {})}
        facts = {"ids": tokens.ids, "grid": tokens.grid, "soft": tokens.soft} | changed
        with pytest.raises(InvalidInput, match=said):
            codec.decode([Tokens(tokens.codec, tokens.fingerprint, extent=extent, **facts)])

    wrong = tokens.values.copy()
    wrong[3, 1] = np.nan
    refused("finite", soft=wrong)
    refused("finite", soft=np.where(np.isnan(wrong), np.inf, wrong))
    refused("4 real values", soft=tokens.values[:, :3])
    refused("16 bits", extent={"bits": 16})
    refused("16 or 32 bits", extent={"bits": 8})
    refused("real-valued tokens, and none", soft=None)
    refused("0 codebooks", soft=None, ids=np.zeros((1, 12), np.int32))
    refused("tiles of 1 to 512 tokens, not 0", extent={"tile": 0})
    refused("tiles of 1 to 512 tokens, not 513", extent={"tile": 513})
    refused("does not fit the extent", extent={"height": 9})


def test_configurations_that_are_not_the_weights(folder: Path, tmp_path: Path) -> None:
    for file in folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    stated = json.loads((tmp_path / "config.json").read_text())
    for key, value, said in (
        ("latent_channels", 8, r"is \("),
        ("layers_per_block", 2, "is missing"),
        ("in_channels", 1, "takes 1 channels"),
    ):
        (tmp_path / "config.json").write_text(json.dumps(stated | {key: value}))
        with pytest.raises(InvalidInput, match=said):
            load(f"hf:{tmp_path}", device="cpu")


def test_a_network_that_does_not_keep_the_size_is_refused(tmp_path: Path, picture: Picture) -> None:
    make(tmp_path / "small", "tiny", num_decoder_blocks=(1,), decoder_block_out_channels=(8,))
    codec = load(f"hf:{tmp_path / 'small'}", device="cpu")
    with pytest.raises(InvalidInput, match=r"gives \(2, 2\) where \(4, 4\) is right"):
        codec.decode(codec.encode([picture(4, 4)]))


def test_a_library_without_the_class_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(tmp_path / "small", "flux2")
    old = SimpleNamespace(__version__="0.20")
    monkeypatch.setattr(libraries, "import_module", lambda _: old)
    with pytest.raises(Unavailable, match="AutoencoderKLFlux2 needs a newer diffusers than 0.20"):
        load(f"hf:{tmp_path / 'small'}", device="cpu")
