"""Cosmos's discrete tokenizers: what their networks give is what the codecs give.

That the networks are NVIDIA's is what the tests of the conversion show.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from omnicodec.codecs import Image, InvalidInput, Video, load
from omnicodec.codecs.hub.cosmos_fsq import CosmosConfig, CosmosVideoCodec
from omnicodec.codecs.stream.omc import read_tokens, write_tokens

torch = pytest.importorskip("torch")
pytest.importorskip("diffusers")

from safetensors.torch import save_file  # noqa: E402

from omnicodec.codecs.hub.cosmos_networks import (  # noqa: E402
    Cosmos,
    CosmosFSQ,
    from_haar,
    to_haar,
)

Picture = Callable[..., Image]

SMALL: dict[str, Any] = {
    "spatial": 8, "temporal": 0, "patch": 4, "channels": 32, "block_channels": [32, 64],
    "layers": 1, "latent_channels": 8, "levels": [8, 8, 8, 5, 5, 5],
}  # fmt: skip


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, Any]]:
    """Return by "image" and "video" the folder of a small tokenizer, and its network."""
    found = {}
    for kind, other in (
        ("image", {}),
        ("video", {"temporal": 4, "channels": 8, "block_channels": [8, 16]}),
    ):
        torch.manual_seed(6)
        config = {**SMALL, **other, "model_type": f"cosmos_discrete_{kind}"}
        network = Cosmos(CosmosConfig.of(config, kind)).eval()
        for weight in network.quant_conv.parameters():  # so that all levels are used
            weight.data.mul_(6)
        folder = tmp_path_factory.mktemp("cosmos") / kind
        folder.mkdir()
        (folder / "config.json").write_text(json.dumps(config))
        save_file(network.state_dict(), folder / "model.safetensors")
        found[kind] = folder, network
    return found


def given(network: Any, pixels: Any) -> tuple[Any, Any]:
    """Return the codes of pixels `(..., 3)`, flat, and what is decoded of them, 0 to 255."""
    with torch.inference_mode():
        x = torch.from_numpy(np.moveaxis(pixels, -1, 0).copy())[None].float() / 127.5 - 1
        codes = network.codes(x)
        seen = ((network.pixels(codes)[0] + 1) * 127.5).round().clamp(0, 255)
    return codes.flatten().numpy(), seen.byte().movedim(0, -1).numpy()


def test_a_picture_is_padded_and_given_back(
    folders: dict[str, tuple[Path, Any]], picture: Picture
) -> None:
    folder, network = folders["image"]
    codec, image = load(f"hf:{folder}", device="cpu"), picture(37, 48)
    assert codec.spec.codebook_sizes == (64_000,)
    assert codec.spec.covers == {"height": 8, "width": 8}
    tokens = codec.encode([image])[0]
    assert tokens.grid == (5, 6)
    codes, seen = given(network, np.pad(image.pixels, ((0, 3), (0, 0), (0, 0)), "edge"))
    assert np.array_equal(tokens.ids[0], codes)
    assert len(set(codes)) > 15
    assert np.array_equal(codec.decode([tokens])[0].pixels, seen[:37])
    assert read_tokens(write_tokens(tokens, codec), codec=codec).tokens == tokens


@pytest.mark.parametrize("frames", [1, 12])
def test_a_video_runs_in_chunks(
    folders: dict[str, tuple[Path, Any]], frames: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, network = folders["video"]
    monkeypatch.setattr(CosmosVideoCodec, "chunk_frames", 9)
    codec = load(f"hf:{folder}", device="cpu")
    assert codec.spec.codebook_sizes == (64_000,)
    assert codec.spec.covers == {"frames": 4, "height": 8, "width": 8}
    clip = np.random.default_rng(4).integers(0, 256, (frames, 20, 32, 3), np.uint8)
    tokens = codec.encode([Video(clip, Fraction(25))])[0]
    # 9 frames are 3 steps; of the 3 behind them one is the first, and two are filled up to four.
    assert tokens.grid == (1 if frames == 1 else 5, 3, 4)
    filled = np.pad(clip, ((0, 2 if frames > 1 else 0), (0, 4), (0, 0), (0, 0)), "edge")
    parts = [given(network, chunk) for chunk in (filled[:9], filled[9:]) if len(chunk)]
    assert np.array_equal(tokens.ids[0], np.concatenate([codes for codes, _ in parts]))
    seen = np.concatenate([pixels for _, pixels in parts])[:frames, :20]
    assert codec.decode([tokens])[0] == Video(seen, Fraction(25))
    assert read_tokens(write_tokens(tokens, codec), codec=codec).tokens == tokens


def test_codes_are_digits_of_levels() -> None:
    quantizer = CosmosFSQ([8, 5])
    every = torch.arange(40)[None, None]
    vectors = quantizer.vectors(every)
    assert vectors[0, 0, 0, :9].tolist() == [-1, -0.75, -0.5, -0.25, 0, 0.25, 0.5, 0.75, -1]
    assert vectors[0, 1, 0, ::8].tolist() == [-1, -0.5, 0, 0.5, 1]
    # What a vector's own place is before the bound, which for even levels is not in the middle.
    half = torch.tensor([3.5 * 1.001, 2 * 1.001]).view(1, 2, 1, 1)
    offset = torch.tensor([0.5, 0.0]).view(1, 2, 1, 1)
    steps = vectors * torch.tensor([4.0, 2.0]).view(1, 2, 1, 1)
    z = ((steps + offset) / half).atanh() - (offset / half).atanh()
    assert torch.equal(quantizer.indices(z), every)
    assert quantizer.indices(torch.tensor([-99.0, 99.0]).view(1, 2, 1, 1)).item() == 32


def test_wavelets_are_means_and_differences() -> None:
    x = torch.tensor([[1.0, 2.0], [4.0, 9.0]])[None, None]
    assert to_haar(x, 2).flatten().tolist() == [4.0, -2.5, -1.5, 1.0]
    many = torch.randn(2, 3, 16, 24)
    assert to_haar(many, 4).shape == (2, 48, 4, 6)
    torch.testing.assert_close(from_haar(to_haar(many, 4), 4), many)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"spatial": 12}, "of no Cosmos tokenizer"),
        ({"spatial": 2}, "of no Cosmos tokenizer"),
        ({"spatial": 64}, "of no Cosmos tokenizer"),
        ({"layers": 10**9}, "of no Cosmos tokenizer"),
        ({"layers": True}, "of no Cosmos tokenizer"),
        ({"levels": []}, "of no Cosmos tokenizer"),
        ({"levels": [8192, 8192, 8192]}, "of no Cosmos tokenizer"),
        ({"levels": "8885"}, "of no Cosmos tokenizer"),
        ({"temporal": 8}, "of no Cosmos tokenizer"),
        ({"temporal": 8, "model_type": "cosmos_discrete_video"}, "is no discrete Cosmos"),
        ({"block_channels": 3}, "is not Cosmos's"),
        ({"channels": None}, "of no Cosmos tokenizer"),
        ({"channels": 16384, "block_channels": [16384] * 3}, "is no discrete Cosmos"),
        ({"layers": 2}, "do not match"),
    ],
)
def test_a_wrong_configuration_is_refused(
    folders: dict[str, tuple[Path, Any]], tmp_path: Path, change: Any, said: str
) -> None:
    folder, _ = folders["image"]
    config = json.loads((folder / "config.json").read_text()) | change
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "model.safetensors").write_bytes((folder / "model.safetensors").read_bytes())
    with pytest.raises(InvalidInput, match=said):
        load(f"hf:{tmp_path}", device="cpu")
