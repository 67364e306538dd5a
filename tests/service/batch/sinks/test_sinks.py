"""What every sink must do, whatever its format."""

from __future__ import annotations

import pickle
import random
import shutil
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omnicodec.codecs import CorruptStream, InvalidInput
from omnicodec.codecs.vocabulary import Vocabulary
from omnicodec.service.batch.sinks import FORMATS, files, open_sink

from ..rows import FLAT, PARALLEL, Parts, assert_same, items, layout_of, made, picture, sound, text

CASES = [(name, layout) for name, layouts in FORMATS.items() for layout in layouts]
KEYLESS = ("megatron", "torchtitan")


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("sinks")


def several(vocabulary: Vocabulary) -> list[list[Parts]]:
    media = picture(2, 3) if vocabulary is FLAT else sound(7)
    first: list[Parts] = [(text(5),), (), (media, text(3), text(0)), (text(90),)]
    return [first, [], [(media,)] * 3]


@pytest.mark.parametrize(("name", "layout"), CASES)
@pytest.mark.parametrize("vocabulary", [FLAT, PARALLEL], ids=["flat", "parallel"])
def test_rows_come_back(folders: Path, name: str, layout: str, vocabulary: Vocabulary) -> None:
    @settings(max_examples=8)
    @given(st.lists(items(vocabulary, 8), max_size=3))
    def check(shards: list[list[Parts]]) -> None:
        folder = folders / f"{name}-{layout}"
        shutil.rmtree(folder, ignore_errors=True)
        sink, names, rows = made(name, folder, layout_of(vocabulary, layout), shards)
        opened = sink.open(folder / "data", names)
        assert len(opened) == len(rows)
        for index in random.Random(0).sample(range(len(rows)), len(rows)):
            assert_same(rows[index], opened[index], names=name not in KEYLESS)
        for index in (-1, len(rows)):
            with pytest.raises(IndexError):
                opened[index]
        opened.close()

    check()


@pytest.mark.parametrize(("name", "layout"), CASES)
def test_bytes_depend_on_rows_alone(tmp_path: Path, name: str, layout: str) -> None:
    folders = [tmp_path / "one", tmp_path / "two"]
    for folder in folders:
        _, names, _ = made(name, folder, layout_of(FLAT, layout), several(FLAT))
    for file in names:
        one, two = ((folder / "data" / file).read_bytes() for folder in folders)
        assert one == two, file


@pytest.mark.parametrize(("name", "layout"), CASES)
def test_finish_may_be_ended_and_called_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, layout: str
) -> None:
    rows_layout = layout_of(FLAT, layout)
    sink, names, _ = made(name, tmp_path / "undisturbed", rows_layout, several(FLAT))
    wanted = {n: (tmp_path / "undisturbed" / "data" / n).read_bytes() for n in names}

    # The shards again, and what a run left that was killed while it joined them.
    class Killed(BaseException):
        pass

    data, temporary = tmp_path / "data", tmp_path / "temporary"
    data.mkdir()
    shards = []
    for index, parts in enumerate(several(FLAT)):
        folder = tmp_path / str(index)
        folder.mkdir()
        shard = layout_of(FLAT, layout)
        writer = sink.open_shard(folder, index)
        for i, item in enumerate(parts):
            for row in shard.rows(f"{index}/item/{i}.x", f"tar é#{i}", item):
                writer.write(row)
        for row in shard.flush():
            writer.write(row)
        writer.close()
        shards.append(sorted(path.name for path in folder.iterdir()))
        for path in folder.iterdir():
            path.rename(data / path.name)
    for syncs in range(4):
        left = [None] * syncs

        def fsync(_: int, left: list[None] = left) -> None:
            if not left:
                raise Killed
            left.pop()

        temporary.mkdir()
        with monkeypatch.context() as patched, suppress(Killed):
            patched.setattr(files.os, "fsync", fsync)
            sink.finish(data, shards, temporary)
        shutil.rmtree(temporary)
    temporary.mkdir()
    kept = sink.finish(data, shards, temporary)
    assert {n: (data / n).read_bytes() for n in kept} == wanted


@pytest.mark.parametrize(("name", "layout"), CASES)
def test_rows_may_be_pickled(tmp_path: Path, name: str, layout: str) -> None:
    sink, names, rows = made(name, tmp_path / "set", layout_of(FLAT, layout), several(FLAT))
    opened = sink.open(tmp_path / "set" / "data", names)
    assert_same(rows[0], opened[0], names=False)
    again = pickle.loads(pickle.dumps(opened))
    assert_same(rows[-1], again[len(rows) - 1], names=False)


@pytest.mark.parametrize(("name", "layout"), CASES)
def test_damage_is_said(tmp_path: Path, name: str, layout: str) -> None:
    # Whatever has become of the files: a row as some file may have it, or `CorruptStream`.
    sink, names, rows = made(name, tmp_path / "set", layout_of(FLAT, layout), several(FLAT))
    data = tmp_path / "set" / "data"
    rng = random.Random(1)
    for file in [n for n in names if n != "index.json"]:
        whole = (data / file).read_bytes()
        damaged = [b"", whole[: len(whole) // 2], whole[:-1], bytes(len(whole))]
        for _ in range(12):
            flipped = bytearray(whole)
            flipped[rng.randrange(min(len(whole), 400))] ^= 1 << rng.randrange(8)
            damaged.append(bytes(flipped))
        for content in damaged:
            (data / file).write_bytes(content)
            raised = 0
            try:
                opened = sink.open(data, names)
            except CorruptStream:
                continue
            for index in range(len(opened) if len(opened) < 1000 else 0):
                try:
                    opened[index]
                except CorruptStream as e:
                    raised += 1
                    assert "\n" not in str(e)
            assert raised or len(content) == len(whole) or len(opened) != len(rows), file
            opened.close()
        (data / file).unlink()
        with pytest.raises(CorruptStream):
            list(map(sink.open(data, names).__getitem__, range(len(rows))))
        (data / file).write_bytes(whole)


def test_abandoned_shards_close_their_files(tmp_path: Path) -> None:
    for name, layouts in FORMATS.items():
        layout = layout_of(FLAT, layouts[0])
        folder = tmp_path / name
        folder.mkdir()
        writer = open_sink(name, layout.facts()).open_shard(folder, 0)
        for row in layout.rows("key", "source", (text(9),)):
            writer.write(row)
        writer.abandon()
        shutil.rmtree(folder)


def test_what_a_format_cannot_store_is_refused() -> None:
    with pytest.raises(InvalidInput, match=r"megatron.*raw.*document or packed"):
        open_sink("megatron", {"layout": "raw"})
    with pytest.raises(InvalidInput, match="unknown format 'pickle'"):
        open_sink("pickle", {"layout": "raw"})
