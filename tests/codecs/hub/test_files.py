"""What may be wrong with the files of a published codec, and what makes its fingerprint."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from omnicodec.codecs import InvalidInput
from omnicodec.codecs.hub.files import Snapshot, read_header, stated_licence

Change = Callable[[Path], object]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder with a configuration and two tensors."""
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "x", "sizes": [1, 2]}))
    tensors = {
        "a.weight": np.arange(6, dtype=np.float32).reshape(2, 3),
        "b": np.ones(4, np.float16),
    }
    save_file(tensors, tmp_path / "model.safetensors")
    return tmp_path


def fingerprint(folder: Path, **options: Any) -> str:
    return Snapshot("hf:x", folder, **options).fingerprint


def rewrite(folder: Path, **facts: Any) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, **facts}, indent=4))


def shards(folder: Path) -> None:
    """Spread the weights over two files and an index."""
    tensors = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    names = [f"model-{i}-of-2.safetensors" for i in (1, 2)]
    for file, (name, tensor) in zip(names, tensors.items(), strict=True):
        save_file({name: tensor}, folder / file)
    index = {"weight_map": dict(zip(tensors, names, strict=True))}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


@pytest.mark.parametrize(
    "change",
    [
        lambda f: rewrite(f, transformers_version="9.9", _name_or_path="elsewhere"),
        shards,
        lambda f: (f / "README.md").write_text("hello"),
        lambda f: (f / "pytorch_model.bin").write_bytes(b"a pickle that nobody opens"),
    ],
)
def test_the_fingerprint_is_that_of_the_codec(folder: Path, change: Change) -> None:
    before = fingerprint(folder)
    change(folder)
    assert fingerprint(folder) == before
    assert len(before) == 16


def change_a_value(folder: Path) -> None:
    data = bytearray((folder / "model.safetensors").read_bytes())
    data[-1] ^= 1
    (folder / "model.safetensors").write_bytes(bytes(data))


@pytest.mark.parametrize(
    "change",
    [
        lambda f: rewrite(f, sizes=[2, 1]),
        change_a_value,
        lambda f: (f / "preprocessor_config.json").write_text("{}"),
    ],
)
def test_what_makes_other_codes_makes_another_fingerprint(folder: Path, change: Change) -> None:
    also = ("preprocessor_config.json",)
    before = fingerprint(folder, also=also)
    change(folder)
    assert fingerprint(folder, also=also) != before


def test_only_the_tensors_of_a_part_count(folder: Path) -> None:
    snapshot = Snapshot("hf:x", folder, prefix="a.")
    assert list(snapshot.tensors) == ["a.weight"]
    assert snapshot.weight_bytes == 24
    whole = snapshot.fingerprint
    assert whole != fingerprint(folder)
    shards(folder)
    (folder / "model-2-of-2.safetensors").unlink()  # of the other part, and not downloaded
    assert fingerprint(folder, prefix="a.") == whole


def cut(folder: Path) -> None:
    file = folder / "model.safetensors"
    os.truncate(file, file.stat().st_size - 3)


def lose_a_shard(folder: Path) -> None:
    shards(folder)
    (folder / "model-2-of-2.safetensors").unlink()


def leave_pickles(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


def climb(folder: Path) -> None:
    shards(folder)
    index = {"weight_map": {"b": "../model-1-of-2.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


def overlong(folder: Path) -> None:
    (folder / "model.safetensors").write_bytes(b"\xff" * 40)


def backwards(folder: Path) -> None:
    head = json.dumps({"a": {"dtype": "F32", "shape": [1], "data_offsets": [4, 0]}}).encode()
    (folder / "model.safetensors").write_bytes(len(head).to_bytes(8, "little") + head + b"1234")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda f: (f / "config.json").unlink(), "has no config.json"),
        (lambda f: (f / "config.json").write_text("{"), "is no JSON"),
        (lambda f: (f / "config.json").write_text("[" * 100_000), "is no JSON"),
        (lambda f: (f / "config.json").write_text("[]"), "holds no object"),
        (cut, r"is cut off: it has \d+ of \d+ bytes"),
        (lambda f: os.truncate(f / "model.safetensors", 5), "is cut off, or no safetensors"),
        (overlong, "is cut off, or no safetensors"),
        (backwards, "is no safetensors file"),
        (lambda f: (f / "model.safetensors").write_bytes(b"\2" + b"\0" * 7 + b"[]"), "is no safet"),
        (lose_a_shard, "lacks model-2-of-2.safetensors, which model.safetensors.index.json names"),
        (climb, r"names '../model-1-of-2.safetensors', which is no file beside it"),
        (lambda f: (f / "model.safetensors").unlink(), "has no weights in a file of a usual name"),
        (leave_pickles, r"only as a pickle \(pytorch_model.bin\).* run CONVERT, and open"),
    ],
)  # fmt: skip
def test_one_line_says_what_is_wrong(folder: Path, change: Change, said: str) -> None:
    change(folder)
    with pytest.raises(InvalidInput, match=said) as caught:
        fingerprint(folder, convert="CONVERT")
    assert "\n" not in str(caught.value)


def test_headers_say_where_tensors_lie(folder: Path) -> None:
    tensors = load_file(folder / "model.safetensors")
    data = (folder / "model.safetensors").read_bytes()
    for stored in read_header(folder / "model.safetensors"):
        assert data[stored.start : stored.stop] == tensors[stored.name].tobytes()
        assert stored.shape == tensors[stored.name].shape


@pytest.mark.parametrize(
    ("card", "licence"),
    [
        ("---\nlicense: mit\n---\n# X", "mit"),
        ("---\ntags:\n- audio\nlicense: 'cc-by-nc-4.0'\n---\n", "cc-by-nc-4.0"),
        ("---\nlicense:\n- apache-2.0\ntags: []\n---\n", "apache-2.0"),
        ("---\nlicense: other\nlicense_name: nvidia-open\nlicense_link: x\n---\n", "nvidia-open"),
        ("---\nlicense: other\n---\n", "other"),
        ("# no front matter\nlicense: mit\n", "not stated"),
        ("---\ntags: [a]\n---\nlicense: mit\n", "not stated"),
        (None, "not stated"),
    ],
)
def test_the_licence_is_what_the_card_states(
    tmp_path: Path, card: str | None, licence: str
) -> None:
    if card is not None:
        (tmp_path / "README.md").write_text(card)
    assert stated_licence(tmp_path / "README.md") == licence
