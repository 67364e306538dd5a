"""Published codecs of a server: what comes back is what is made in this process."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from omnicodec.codecs import Audio, UnknownCodec, compress, load
from omnicodec.codecs.stream import read_tokens
from omnicodec.service import Client
from omnicodec.service.cli.run import run
from omnicodec.service.server import RunningServer, ServerOptions, running_server

pytest.importorskip("transformers")


@pytest.fixture(scope="module")
def server(mono_encodec: Path) -> Iterator[RunningServer]:
    options = ServerOptions(listen="127.0.0.1:0", device="cpu", preload=(f"hf:{mono_encodec}",))
    with running_server(options) as running:
        yield running


def test_the_client_does_what_this_process_does(
    server: RunningServer, mono_encodec: Path, sound: Callable[..., Audio]
) -> None:
    local = load(f"hf:{mono_encodec}", device="cpu")
    items = [sound(1000, 8000), sound(700, 11025, 2)]
    with Client(server.address) as client:
        assert local.spec.name in {spec.name for spec in client.codecs()}
        remote = client.codec(local.spec.name)
        assert (remote.spec, remote.media_type) == (local.spec, Audio)
        tokens = remote.encode(items, quality=2)
        assert tokens == local.encode(items, quality=2)
        for found, expected in zip(remote.decode(tokens), local.decode(tokens), strict=True):
            assert np.array_equal(found.samples, expected.samples)
        streams = remote.compress(items)
        assert streams == [compress(item, local) for item in items]
        back = remote.decompress(streams)
        for found, expected in zip(back, local.decode(local.encode(items)), strict=True):
            assert np.array_equal(found.samples, expected.samples)
        with pytest.raises(UnknownCodec, match="--preload"):
            client.codec("hf:some/other")


def test_commands_are_those_of_this_process(
    server: RunningServer,
    mono_encodec: Path,
    sound: Callable[..., Audio],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    sound(900, 8000).save("clip.wav")
    there, name = ("--server", server.address), "hf:small-encodec"
    here = ("-c", f"hf:{mono_encodec}", "--device", "cpu")
    for verb, given, made in (
        ("encode", "clip.wav", "clip.npz"),
        ("compress", "clip.wav", "clip.omc"),
        ("decode", "there-clip.npz", "a.wav"),
        ("decompress", "there-clip.omc", "b.wav"),
    ):
        codec = () if verb == "decompress" else ("-c", name)
        assert run([*there, verb, given, *codec, "-o", f"there-{made}"]) == 0
        assert run([verb, given, *here, "-o", f"here-{made}"]) == 0
        found, expected = (Path(f"{where}-{made}").read_bytes() for where in ("there", "here"))
        if made.endswith(".omc"):  # of sound in pieces: chunks are of whole seconds
            assert read_tokens(found).tokens == read_tokens(expected).tokens
        else:
            assert found == expected
    capsys.readouterr()
    assert run([*there, "info", "there-clip.omc"]) == 0
    assert "decodable          yes" in capsys.readouterr().out
    assert run([*there, "encode", "clip.wav", "-c", f"hf:{mono_encodec}", "-o", "x.npz"]) == 2
    assert "a server knows its own codecs" in capsys.readouterr().err
