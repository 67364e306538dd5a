"""The file vocabulary.json: what is in it, that it never changes, and what is refused."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from omnicodec.codecs import InvalidInput, Vocabulary

from .documents import IMAGE, SPECS, TEXT, vocabulary

# As the first version wrote it.
OLD = {
    "format": "omnicodec.vocabulary.v1",
    "pattern": "delay",
    "size": 1839,
    "special_tokens_start": 256,
    "ranges": {"text/bytes.0": [0, 256], "audio/rvq.0": [1824, 1831]},
    "codecs": [
        {
            "name": "text/bytes", "version": 1, "fingerprint": "0" * 16, "modality": "text",
            "codebook_sizes": [256], "covers": {"bytes": 1}, "extent": [], "grid_rank": 1,
        },
        {
            "name": "audio/rvq", "version": 1, "fingerprint": "2" * 16, "modality": "audio",
            "codebook_sizes": [7, 5, 3], "covers": {"seconds": 0.02},
            "extent": ["samples", "rate"], "grid_rank": 1,
        },
    ],
}  # fmt: skip


def test_save_and_load(tmp_path: Path) -> None:
    ours = vocabulary("delay", 3)
    ours.save(tmp_path)
    assert Vocabulary.load(tmp_path) == ours
    assert Vocabulary.load(tmp_path / "vocabulary.json") == ours
    assert list(ours.files()) == ["vocabulary.json"]
    (tmp_path / "vocabulary.json").write_text("{}")
    with pytest.raises(InvalidInput, match="is not a vocabulary"):
        Vocabulary.load(tmp_path)


def test_the_file_tells_trainers_of_any_language_what_is_where(tmp_path: Path) -> None:
    ours = vocabulary()
    ours.save(tmp_path / "mine.json")
    content = json.loads((tmp_path / "mine.json").read_text())
    assert content["size"] == ours.size
    assert content["special_tokens_start"] == 256
    assert content["special_tokens"]["<|eos|>"] == 258
    assert content["special_tokens"]["<|/image/fine|>"] == ours.special_tokens["<|/image/fine|>"]
    for spec in SPECS.values():
        for book in range(len(spec.codebook_sizes)):
            ids = ours.id_range(spec.name, book)
            assert content["ranges"][f"{spec.name}.{book}"] == [ids.start, ids.stop]


def test_equal_vocabularies_are_the_same_bytes(tmp_path: Path) -> None:
    """Whatever the order in which a spec names its facts, and after any number of rounds."""
    other = replace(IMAGE, covers={"width": 16.0, "height": 16})
    a, b = Vocabulary.build([TEXT, IMAGE]), Vocabulary.build([TEXT, other])
    assert a == b
    assert a.files() == b.files()
    for _ in range(2):
        a.save(tmp_path)
        a = Vocabulary.load(tmp_path)
    assert (
        a.files() == b.files() == {"vocabulary.json": (tmp_path / "vocabulary.json").read_bytes()}
    )


def test_usual_integers_are_in_the_file_where_there_are_some(tmp_path: Path) -> None:
    assert b"usual" not in vocabulary().files()["vocabulary.json"]
    tiled = replace(IMAGE, extent=(*IMAGE.extent, "tile"), usual={"tile": 128})
    ours = Vocabulary.build([TEXT, tiled])
    ours.save(tmp_path)
    assert Vocabulary.load(tmp_path) == ours
    file = tmp_path / "vocabulary.json"
    for wrong in (b'"side": 128', b'"tile": "many"'):
        file.write_bytes(ours.files()[file.name].replace(b'"tile": 128', wrong))
        with pytest.raises(InvalidInput, match="is not a vocabulary"):
            Vocabulary.load(file)


def test_files_of_the_first_version_are_read(tmp_path: Path) -> None:
    path = tmp_path / "vocabulary.json"
    path.write_text(json.dumps(OLD))
    old = Vocabulary.load(path)
    assert (old.pattern, old.patch, old.size, old.rows) == ("delay", 1, 1839, 3)
    assert old.entries[1].extent == ("samples", "rate")
    assert old.id_range("audio/rvq", 2) == range(1836, 1839)
    old.save(path)
    assert Vocabulary.load(path) == old


@given(st.data())
def test_no_content_is_an_accident(tmp_path_factory: Any, data: st.DataObject) -> None:
    """Whatever one member of the file is, it is a vocabulary or refused in one line."""
    folder = tmp_path_factory.getbasetemp()
    content = json.loads(vocabulary("delay", 2).files()["vocabulary.json"])
    content["tokenizer"] = {"sha256": "0", "gaps": [[3, 4]], "added_tokens": {}, "taken": []}
    value = data.draw(
        st.recursive(
            st.none() | st.integers() | st.floats() | st.text(max_size=4) | st.booleans(),
            lambda each: st.lists(each, max_size=3) | st.dictionaries(st.text(), each, max_size=2),
        )
    )
    where = data.draw(st.sampled_from([content, content["codecs"][1], content["tokenizer"]]))
    where[data.draw(st.sampled_from([*where, "other"]))] = value
    path = folder / "spoiled.json"
    path.write_text(json.dumps(content))
    try:
        read = Vocabulary.load(path)
    except InvalidInput as e:
        assert "\n" not in str(e)
        return
    assert read.size > 0
    read.unpack(read.pack([]))
    json.loads(read.files()["vocabulary.json"])


@pytest.mark.parametrize("data", [b"", b"\xff", b"[" * 100_000, b"[]", b'{"format": 1}', b"1e999"])
def test_other_files_are_refused(data: bytes, tmp_path: Path) -> None:
    (tmp_path / "vocabulary.json").write_bytes(data)
    with pytest.raises(InvalidInput, match="is not a vocabulary"):
        Vocabulary.load(tmp_path)
    with pytest.raises(InvalidInput, match="cannot read"):
        Vocabulary.load(tmp_path / "none.json")
