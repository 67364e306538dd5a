"""An unmodified tritonclient, in an environment without omnicodec, against a server process."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from omnicodec.codecs import Audio, Image, Text, available, compress, describe, load
from omnicodec.codecs.stream import decompress

CLIENT = Path(__file__).with_name("client.py")
RNG = np.random.default_rng(5)
PICTURE = Image(RNG.integers(0, 256, (64, 48, 3), np.uint8))
SOUND = Audio(RNG.normal(0, 0.1, (1, 8_000)).astype(np.float32), 16_000)
WORDS = bytes(range(256))

Found = dict[str, Any]


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    module = ["-P", "-m", "omnicodec.service.cli"]
    command = [sys.executable, *module, "serve", "--listen", "127.0.0.1:0"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        try:
            line = process.stderr.readline()
            assert line.startswith("listening on "), line + process.stderr.read()
            yield line.split()[-1]
        finally:
            process.terminate()
            process.stderr.close()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("triton")
    np.save(path / "pixels.npy", PICTURE.pixels)
    PICTURE.save(path / "picture.png")
    np.save(path / "samples.npy", SOUND.samples)
    (path / "text.bin").write_bytes(WORDS)
    return path


@pytest.fixture(scope="module")
def found(triton_python: str, address: str, folder: Path) -> Found:
    """Return what the client saw, part by part."""
    command = [triton_python, "-I", str(CLIENT), address, str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert not done.returncode, done.stderr
    return dict(json.loads(done.stdout))


def test_the_server_describes_itself(found: Found) -> None:
    seen = found["describe"]
    assert seen["live"]
    assert seen["ready"]
    assert seen["server"]["name"] == "omnicodec"
    assert "statistics" in seen["server"]["extensions"]
    assert (seen["before"], seen["after"]) == (False, True)
    verbs = ("encode", "decode", "compress", "decompress")
    models = [f"{codec.replace('/', '.')}.{verb}" for codec in available() for verb in verbs]
    assert list(seen["states"]) == models
    assert seen["all"] == len(models)
    assert seen["states"]["text.bytes.decode"] == "READY"
    assert seen["states"]["audio.rvq.encode"] == "UNAVAILABLE"


def test_models_have_metadata_and_configuration(found: Found) -> None:
    metadata, config = found["describe"]["metadata"], found["describe"]["config"]
    assert metadata["versions"] == [str(describe("image/vq").version)]
    assert [(t["name"], t["datatype"]) for t in metadata["inputs"]] == [
        ("FILE", "BYTES"),
        ("PIXELS", "UINT8"),
    ]
    assert [(t["name"], t["datatype"]) for t in metadata["outputs"]] == [
        ("TOKENS", "INT32"),
        ("GRID", "INT64"),
        ("EXTENT", "INT64"),
        ("FINGERPRINT", "BYTES"),
    ]
    assert config["name"] == metadata["name"] == "image.vq.encode"
    assert [(t["name"], t["data_type"]) for t in config["input"]] == [
        ("FILE", "TYPE_STRING"),
        ("PIXELS", "TYPE_UINT8"),
    ]
    assert all(t["optional"] for t in config["input"])
    assert [t["dims"] for t in config["output"]] == [t["shape"] for t in metadata["outputs"]]
    assert config.get("max_batch_size", 0) == 0
    parameters = config["parameters"]
    assert parameters["fingerprint"]["string_value"] == describe("image/vq").fingerprint


def test_inferences_are_counted(found: Found) -> None:
    (counts,) = found["describe"]["statistics"]
    assert counts["inference_count"] == counts["execution_count"] == "1"
    stats = counts["inference_stats"]
    assert stats["success"]["count"] == "1"
    assert int(stats["success"]["ns"]) >= int(stats["compute_infer"]["ns"]) > 0
    assert int(counts["last_inference"]) > 1e12


def test_pictures_are_what_the_codecs_make(found: Found, folder: Path) -> None:
    codec = load("image/vq")
    (tokens,) = codec.encode([PICTURE])
    (seen,) = codec.decode([tokens])
    for name in ("tokens", "file"):
        assert np.array_equal(np.load(folder / f"{name}.npy"), tokens.ids)
    assert np.array_equal(np.load(folder / "batch.npy"), np.tile(tokens.ids, 2))
    assert np.array_equal(np.load(folder / "decoded.npy"), np.stack([seen.pixels] * 2))
    assert Image.open(folder / "decoded.png") == seen
    stream = compress(PICTURE, "image/vq", quality=50)
    assert (folder / "picture.omc").read_bytes() == stream
    whole = decompress(stream)
    assert isinstance(whole, Image)
    assert np.array_equal(np.load(folder / "decompressed.npy"), whole.pixels[None])
    facts = found["pictures"]
    assert facts["id"] == "seven"
    assert facts["grid"] == [list(tokens.grid)] * 2
    assert facts["extent"] == [[64, 48]] * 2
    assert facts["fingerprint"] == tokens.fingerprint
    assert facts["chosen"] == ["GRID"]


def test_sound_and_text_come_back(found: Found, folder: Path) -> None:
    codec = load("audio/rvq")
    (tokens,) = codec.encode([SOUND])
    (heard,) = codec.decode([tokens])
    assert np.array_equal(np.load(folder / "sound.npy"), tokens.ids)
    assert np.array_equal(np.load(folder / "heard.npy"), heard.samples[None])
    facts = found["sound_and_text"]
    assert facts["rate"] == [16_000]
    assert [Text(bytes.fromhex(each)).data for each in facts["texts"]] == [WORDS, b"", b"short"]


@pytest.mark.parametrize(
    ("case", "status", "message"),
    [
        ("model", "NOT_FOUND", "unknown model 'image.none.encode'"),
        ("version", "NOT_FOUND", "not '99'"),
        ("metadata", "NOT_FOUND", "unknown model 'nothing'"),
        ("input", "INVALID_ARGUMENT", "has no input 'FOO'; it takes FILE, PIXELS"),
        ("none", "INVALID_ARGUMENT", "takes either FILE or PIXELS"),
        ("type", "INVALID_ARGUMENT", "FILE is of BYTES, not 'UINT8'"),
        ("file", "INVALID_ARGUMENT", "not a picture"),
        ("parameter", "INVALID_ARGUMENT", "has no parameter 'speed'"),
        ("quality", "INVALID_ARGUMENT", "has no quality 9"),
        ("fingerprint", "FAILED_PRECONDITION", "tokens were made by"),
        ("modality", "INVALID_ARGUMENT", "GRID"),
        ("stream", "DATA_LOSS", "not an .omc stream"),
        ("output", "INVALID_ARGUMENT", "has no output 'FOO'"),
        ("unload", "UNIMPLEMENTED", ""),
    ],
)
def test_errors_are_statuses(found: Found, case: str, status: str, message: str) -> None:
    got, said = found["errors"][case]
    assert got == f"StatusCode.{status}"
    assert message in said


def test_streams_answer_in_order(found: Found) -> None:
    *answers, bad, last = found["streaming"]["answers"]
    assert answers == [[str(n), [[n + 1, 3]], True] for n in range(4)]
    assert "has no input 'FOO'" in bad[1]
    assert last[0] == "last"
    nothing, status, message = found["streaming"]["strict"]
    assert nothing
    assert status == "StatusCode.NOT_FOUND"
    assert "unknown model" in message
