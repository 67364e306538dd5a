"""A continuous tokenizer through every command and a server: each value to the last bit."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from omnicodec.codecs import Image, Tokens, decompress, load
from omnicodec.codecs.registry import AnyCodec
from omnicodec.codecs.stream import inspect
from omnicodec.service.cli.run import run as run_program
from omnicodec.service.server import ServerOptions, running_server

torch = pytest.importorskip("torch")
diffusers = pytest.importorskip("diffusers")

Picture = Callable[..., Image]

# Only one event loop of a process may run gRPC.
ASYNC_CLIENT = """
import asyncio, sys
from omnicodec.codecs import Tokens
from omnicodec.service import AsyncClient

async def main(address, tokens, back):
    async with AsyncClient(address) as client:
        (media,) = await client.decode([Tokens.load(tokens)])
        (again,) = await client.encode([media], "hf:kl", quality=16)
        media.save(back)
        again.save(tokens)

asyncio.run(main(*sys.argv[1:]))
"""


def run(*words: object) -> int:
    """Return the exit code of a command in this process."""
    return run_program([str(word) for word in words])


@pytest.fixture(scope="module")
def name(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return the name of a small AutoencoderKL with random weights, in a folder."""
    torch.manual_seed(2)
    model = diffusers.AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        block_out_channels=(8, 16),
        norm_num_groups=4,
        latent_channels=4,
    )
    folder = tmp_path_factory.mktemp("real") / "kl"
    model.save_pretrained(folder)
    return f"hf:{folder}"


@pytest.fixture
def codec(name: str) -> AnyCodec:
    return load(name, device="cpu")


@pytest.fixture
def photo(tmp_path: Path, picture: Picture, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a picture in the current folder, which has nothing else."""
    monkeypatch.chdir(tmp_path)
    picture(37, 50).save("photo.png")
    return Path("photo.png")


def test_the_list_tells_of_them(
    name: str, codec: AnyCodec, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("codecs", name) == 0
    assert "4 real values" in capsys.readouterr().out
    assert run("codecs", "--json", name) == 0
    (shown,) = json.loads(capsys.readouterr().out)["codecs"]
    assert (shown["soft_width"], shown["codebook_sizes"]) == (4, [])
    assert shown["bits_per_position"] == 4 * 32
    assert shown["qualities"] == list(codec.spec.qualities) == [16, 32]


@pytest.mark.parametrize("quality", [None, 16])
def test_a_file_goes_through_every_command(
    name: str,
    codec: AnyCodec,
    photo: Path,
    quality: int | None,
    capsys: pytest.CaptureFixture[str],
) -> None:
    chosen = ("-c", name, *(() if quality is None else ("-q", quality)))
    (tokens,) = codec.encode([Image.open(photo)], quality=quality)
    (expected,) = codec.decode([tokens])
    assert run("encode", photo, *chosen, "-o", "a.npz") == 0
    assert Tokens.load("a.npz") == tokens
    assert run("decode", "a.npz", "-c", name, "-o", "a.png") == 0
    assert run("compress", photo, *chosen, "-o", "b.omc") == 0
    assert run("decompress", "b.omc", "-c", name, "-o", "b.png") == 0
    assert Image.open("a.png") == Image.open("b.png") == expected
    capsys.readouterr()
    assert run("info", "b.omc", "-c", name, "--json") == 0
    facts = json.loads(capsys.readouterr().out)
    assert (facts["decodable"], facts["damage"]) == (True, None)
    assert facts["extent"]["bits"] == (quality or 32)
    assert run("verify", "b.omc", "-c", name) == 0
    assert f"ok, {len(tokens)} positions of hf:kl" in capsys.readouterr().out


def test_a_damaged_stream_gives_back_the_rest(name: str, codec: AnyCodec, photo: Path) -> None:
    codec = load(name, device="cpu")
    (tokens,) = codec.encode([Image.open(photo)])
    assert run("compress", photo, "-c", name, "-o", "a.omc") == 0
    data = bytearray(Path("a.omc").read_bytes())
    data[-20] ^= 1
    Path("a.omc").write_bytes(data)
    assert run("verify", "a.omc", "-c", name) == 4
    assert run("decompress", "a.omc", "-c", name, "-o", "a.png") == 4
    back = decompress(bytes(data), partial=True, codec=codec)
    assert isinstance(back, Image)
    assert back.pixels.shape == (37, 50, 3)
    assert list(inspect(bytes(data)).grid) == list(tokens.grid)


def test_it_is_evaluated(
    name: str, codec: AnyCodec, photo: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("evaluate", "-c", name, photo, "-q", 16, "--json", "--html", "page.html")
    assert run(*words) == 0
    figures = json.loads(capsys.readouterr().out)
    (item,) = figures["items"]
    (tokens,) = codec.encode([Image.open(photo)], quality=16)
    assert run("compress", photo, "-c", name, "-q", 16, "-o", "a.omc") == 0
    pixels, size = 37 * 50, Path("a.omc").stat().st_size
    assert abs(item["file_bytes"] - size) < 30  # a command's stream has the name of its file
    assert item["rate"] == 8 * item["file_bytes"] / pixels
    assert item["token_rate"] == 16 * tokens.soft.size / pixels
    assert "the first three real values of each token" in Path("page.html").read_text()


def test_no_prior_is_measured(name: str, photo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("train", name, photo, "--prior") == 3
    assert "hf:kl: real-valued tokens have no codes to count" in capsys.readouterr().err


def test_a_server_does_what_this_process_does(name: str, codec: AnyCodec, photo: Path) -> None:
    (tokens,) = codec.encode([Image.open(photo)], quality=16)
    (expected,) = codec.decode([tokens])
    options = ServerOptions(listen="127.0.0.1:0", device="cpu", preload=(name,))
    with running_server(options) as server:
        there = ("--server", server.address)
        assert run(*there, "encode", photo, "-c", "hf:kl", "-q", 16, "-o", "a.npz") == 0
        assert Tokens.load("a.npz") == tokens
        assert run(*there, "decode", "a.npz", "-c", "hf:kl", "-o", "a.png") == 0
        assert run(*there, "compress", photo, "-c", "hf:kl", "-q", 16, "-o", "b.omc") == 0
        assert run(*there, "decompress", "b.omc", "-o", "b.png") == 0
        assert Image.open("a.png") == Image.open("b.png") == expected
        program = [sys.executable, "-c", ASYNC_CLIENT, server.address, "a.npz", "c.png"]
        done = subprocess.run(program, capture_output=True, text=True, check=False, timeout=120)
        assert not done.returncode, done.stderr
    assert Image.open("c.png") == expected
    assert Tokens.load("a.npz") == codec.encode([expected], quality=16)[0]
    assert not np.array_equal(Tokens.load("a.npz").soft, tokens.soft)
