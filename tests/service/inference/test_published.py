"""Published codecs as models of the Open Inference Protocol, for an unmodified tritonclient."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from omnicodec.codecs import Image, compress, load
from omnicodec.codecs.hub import opening
from omnicodec.codecs.registry import AnyCodec
from omnicodec.service.server import RunningServer, ServerOptions, running_server

CLIENT = Path(__file__).with_name("published.py")
PICTURE = Image(np.random.default_rng(5).integers(0, 256, (37, 50, 3), np.uint8))
BLOCKS = {
    "down_block_types": ("DownEncoderBlock2D",) * 2, "up_block_types": ("UpDecoderBlock2D",) * 2,
    "block_out_channels": (8, 16), "norm_num_groups": 4, "latent_channels": 4,
}  # fmt: skip

torch = pytest.importorskip("torch")
diffusers = pytest.importorskip("diffusers")


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Return a folder with small published codecs: `vq` of ids and `kl` of real values."""
    folder = tmp_path_factory.mktemp("published")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMNICODEC_CACHE", str(folder / "cache"))
        for name in ("_found", "_opened", "_by_name"):
            patch.setattr(opening, name, {})
        torch.manual_seed(2)
        diffusers.VQModel(**BLOCKS, num_vq_embeddings=64).save_pretrained(folder / "vq")
        diffusers.AutoencoderKL(**BLOCKS).save_pretrained(folder / "kl")
        yield folder


@pytest.fixture(scope="module")
def codecs(published: Path) -> dict[str, AnyCodec]:
    return {name: load(f"hf:{published / name}", device="cpu") for name in ("vq", "kl")}


@pytest.fixture(scope="module")
def server(published: Path) -> Iterator[RunningServer]:
    preload = tuple(f"hf:{published / name}" for name in ("vq", "kl"))
    options = ServerOptions(listen="127.0.0.1:0", device="cpu", preload=preload)
    with running_server(options) as running:
        yield running


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("triton")
    np.save(path / "pixels.npy", PICTURE.pixels)
    return path


@pytest.fixture(scope="module")
def found(triton_python: str, server: RunningServer, folder: Path) -> dict[str, Any]:
    """Return what the client saw."""
    command = [triton_python, "-I", str(CLIENT), server.address, str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert not done.returncode, done.stderr
    return dict(json.loads(done.stdout))


def test_preloaded_codecs_are_listed_and_no_others(found: dict[str, Any]) -> None:
    states = {name: state for name, state in found["states"].items() if name.startswith("hf:")}
    verbs = ("encode", "decode", "compress", "decompress")
    assert states == {f"hf:{name}.{verb}": "READY" for name in ("kl", "vq") for verb in verbs}
    assert found["other"][0] == "StatusCode.NOT_FOUND"
    assert "unknown model" in found["other"][1]
    assert found["version"][0] == "StatusCode.NOT_FOUND"
    (counted,) = found["statistics"]["model_stats"]
    assert counted["inference_count"] == "2"


@pytest.mark.parametrize(("name", "quality"), [("vq", None), ("kl", None), ("kl16", 16)])
def test_they_do_what_they_do_here(
    codecs: dict[str, AnyCodec],
    found: dict[str, Any],
    folder: Path,
    name: str,
    quality: int | None,
) -> None:
    codec = codecs[name[:2]]
    (tokens,) = codec.encode([PICTURE], quality=quality)
    (picture,) = codec.decode([tokens])
    rows = tokens.ids if tokens.soft is None else tokens.soft.T.astype(np.float32)
    seen = np.load(folder / f"{name}-tokens.npy")
    assert seen.dtype == rows.dtype
    assert np.array_equal(seen, rows)
    assert found[name]["extent"] == [[tokens.extent[key] for key in codec.spec.extent]]
    for back in ("decoded", "decompressed"):
        assert np.array_equal(np.load(folder / f"{name}-{back}.npy")[0], picture.pixels)
    assert (folder / f"{name}.omc").read_bytes() == compress(PICTURE, codec, quality=quality)


def test_the_tensors_of_ids_and_of_real_values(
    codecs: dict[str, AnyCodec], found: dict[str, Any]
) -> None:
    assert found["vq"]["tensors"]["TOKENS"] == ["INT32", ["1", "-1"]]
    assert found["kl"]["tensors"]["TOKENS"] == ["FP32", ["4", "-1"]]
    assert found["kl"]["facts"]["soft_width"] == "4"
    assert found["kl"]["facts"]["codec"] == "hf:kl"
    assert "soft_width" not in found["vq"]["facts"]
    assert found["kl"]["facts"]["fingerprint"] == codecs["kl"].spec.fingerprint
