"""One shard from items to files: what comes out depends on the items alone."""

from __future__ import annotations

import errno
import json
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from omnicodec.codecs import Audio, Cancelled, Image, InvalidInput, Text, Unavailable, Video, load
from omnicodec.service.batch import shards
from omnicodec.service.batch.documents import Item, Part, Reject
from omnicodec.service.batch.engines.base import Progress
from omnicodec.service.batch.folder import Folder
from omnicodec.service.batch.layout import Layout
from omnicodec.service.batch.records import Record
from omnicodec.service.batch.shards import write_shard
from omnicodec.service.batch.sinks import open_sink
from omnicodec.service.batch.sinks.base import RawRow, Rows, ShardWriter
from omnicodec.service.batch.sinks.parquet import ParquetSink

from .listed import choice, data_set, files_of, texts


def picture(seed: int, height: int = 20, width: int = 30) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 255, (height, width, 3), np.uint8)
    return Image(pixels).to_bytes(".png")


def clip(*, sound: bool) -> bytes:
    generator = np.random.default_rng(5)
    frames = generator.integers(0, 255, (3, 8, 8, 1), np.uint8).repeat(3, 3)
    heard = generator.uniform(-0.5, 0.5, (1, 2400)).astype(np.float32)
    return Video(frames, 10, Audio(heard, 8000) if sound else None).to_bytes(".mkv")


def mixed(count: int) -> list[Item | Reject]:
    """Return texts, pictures, documents of both, and what is broken."""
    found: list[Item | Reject] = []
    for n in range(count):
        text, image = (
            Part("text", b"text %d" % n),
            Part("image", picture(n, 10 + n % 7), f"{n}.png"),
        )
        parts = [(text,), (image,), (text, image, image, text), (Part("image", b"broken"), text)]
        found.append(Item(f"list#{n}", f"key{n}", parts[n % 4]))
        if n % 9 == 5:
            found.append(Reject(f"list#{n}b", "", "CorruptStream", "cut off"))
    return found


def rows_of(folder: Folder, record: Record) -> Rows:
    from omnicodec.codecs import Vocabulary

    vocabulary = Vocabulary.load(folder.vocabulary)
    job = shards._read_job(folder.job)
    sink = open_sink(job.format, Layout.of(job, vocabulary).facts())
    return sink.open(folder.data, sorted(record.files))


def written(folder: Folder, record: Record) -> list[RawRow]:
    rows = rows_of(folder, record)
    found = [rows[n] for n in range(len(rows))]
    assert all(isinstance(row, RawRow) for row in found)
    return found  # type: ignore[return-value]


def quiet(_: object) -> None:
    pass


def test_the_bytes_do_not_depend_on_how_a_shard_is_written(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, blocks: tuple[str, str]
) -> None:
    for name in ("OMNICODEC_THREADS", "RAYON_NUM_THREADS"):
        monkeypatch.setenv(name, "2")  # so that what is set here is undone
    entries = mixed(40)
    found = []
    for number, (parts, weight, pool, careful) in enumerate(
        [(4096, 1 << 22, 0, False), (3, 1 << 22, 1, False), (64, 900, 3, False), (1, 1, 0, True)]
    ):
        monkeypatch.setattr(shards, "WINDOW_PARTS", parts)
        monkeypatch.setattr(shards, "WINDOW_BYTES", weight)
        monkeypatch.setattr(shards, "_ENTRIES", parts)
        folder = data_set(monkeypatch, tmp_path / str(number), entries, ["text/bytes", blocks[0]])
        record = write_shard(
            folder.path, 0, tell=quiet, device="cpu", threads=pool, careful=careful
        )
        assert record == folder.record(0)
        found.append(files_of(folder))
        assert not list(folder.unfinished.iterdir())
    assert all(files == found[0] for files in found)
    assert record.items == len(entries)
    assert record.rejects == 10 + sum(isinstance(entry, Reject) for entry in entries)


def test_rows_rejects_and_counts_are_those_of_the_items(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, blocks: tuple[str, str]
) -> None:
    entries = mixed(16)
    folder = data_set(monkeypatch, tmp_path / "out", entries, ["text/bytes", blocks[0]])
    record = write_shard(folder.path, 0, tell=quiet, device="cpu")
    codecs = {"text": load("text/bytes"), "image": load(blocks[0])}
    expected, counts = [], Counter[str]()
    for item in entries:
        if isinstance(item, Item) and not any(part.data == b"broken" for part in item.parts):
            tokens = []
            for part in item.parts:
                medium = (Text if part.modality == "text" else Image).open(part.read())
                tokens += codecs[part.modality].encode([medium])
                name = tokens[-1].codec
                counts[f"{name}.parts"] += 1
                counts[f"{name}.positions"] += len(tokens[-1])
                counts[f"{name}.tokens"] += tokens[-1].ids.size
                counts[f"{name}.nbytes"] += len(part.read())
                counts[f"{name}.units"] += medium.nbytes // (1 if part.modality == "text" else 3)
            expected.append((item.key, item.position, tuple(tokens)))
    rows = written(folder, record)
    assert [(row.key, row.source, row.parts) for row in rows] == expected
    assert (record.rows, record.written) == (len(expected), len(expected))
    assert record.tokens == sum(t.ids.size for _, _, tokens in expected for t in tokens)
    for name, counted in record.codecs.items():
        for what in ("parts", "positions", "tokens", "nbytes", "units"):
            assert getattr(counted, what) == counts[f"{name}.{what}"]
    assert record.reasons == {"InvalidInput": 4, "CorruptStream": 2}
    rejects = folder.read_rejects(0)
    assert [reject.position for reject in rejects] == [
        "list#3",
        "list#5b",
        "list#7",
        "list#11",
        "list#14b",
        "list#15",
    ]
    assert rejects[0] == Reject(
        "list#3", "key3", "InvalidInput", "not a picture that can be read", 0
    )
    assert rejects[1] == entries[6]


def test_a_video_has_its_sound_behind_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, film_codec: str
) -> None:
    items = [
        Item("a", "a", (Part("video", clip(sound=True)), Part("text", b"what it shows"))),
        Item("b", "b", (Part("video", clip(sound=False)),)),
    ]
    names = ["text/bytes", "audio/rvq", film_codec]
    folder = data_set(monkeypatch, tmp_path / "out", items, names)
    record = write_shard(folder.path, 0, tell=quiet, device="cpu")
    first, second = written(folder, record)
    assert [part.codec for part in first.parts] == [film_codec, "audio/rvq", "text/bytes"]
    assert [part.codec for part in second.parts] == [film_codec]
    film = Video.open(clip(sound=True))
    assert film.audio is not None
    assert first.parts[0] == load(film_codec).encode([film])[0]
    assert first.parts[1] == load("audio/rvq").encode([film.audio])[0]
    assert record.codecs["audio/rvq"].seconds == 0.3
    assert record.codecs["audio/rvq"].nbytes == 0  # it has no file of its own
    assert record.codecs[film_codec].nbytes == len(clip(sound=True)) + len(clip(sound=False))


@pytest.mark.parametrize("name", ["text/bpe", "text/patch", "text/info"])
def test_codecs_of_text_give_what_they_give_alone(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str
) -> None:
    values = [b"", b"One text, and another one.", b"\xff\xfe not UTF-8", "ünï".encode() * 9]
    folder = data_set(monkeypatch, tmp_path / "out", texts(*values), [name])
    rows = written(folder, write_shard(folder.path, 0, tell=quiet))
    assert [row.parts for row in rows] == [tuple(load(name).encode([Text(v)])) for v in values]


def test_a_vocabulary_of_ones_own_and_a_real_codec_of_pictures(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from omnicodec.codecs import Vocabulary
    from omnicodec.codecs.text.bpe import BPECodec

    path = tmp_path / "tokenizer.json"
    own = load("text/bpe")
    assert isinstance(own, BPECodec)
    own.save(path)
    bpe = load(path)
    chosen = choice("text/bpe", path=str(path), fingerprint=bpe.spec.fingerprint)
    item = Item("a", "a", (Part("image", picture(1)), Part("text", b"a caption of it")))
    folder = data_set(monkeypatch, tmp_path / "out", [item] * 2, [chosen, "image/vq"])
    Vocabulary.build([bpe.spec, load("image/vq").spec]).save(folder.vocabulary)
    rows = written(folder, write_shard(folder.path, 0, tell=quiet, device="cpu"))
    expected = (
        *load("image/vq", device="cpu").encode([Image.open(picture(1))]),
        *bpe.encode([Text(b"a caption of it")]),
    )
    assert [row.parts for row in rows] == [expected] * 2


def test_a_packed_shard_has_all_its_documents(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    values = [b"x" * n for n in range(1, 20)]
    options: dict[str, Any] = {"layout": "packed", "length": 16, "packing": "concatenate"}
    folder = data_set(monkeypatch, tmp_path / "out", texts(*values), ["text/bytes"], **options)
    record = write_shard(folder.path, 0, tell=quiet)
    assert record.written == 19
    assert record.tokens == sum(map(len, values)) + 19  # and the end of each
    assert record.rows == -(-record.tokens // 16) == len(rows_of(folder, record))
    assert record.packing["documents"] == 19


def test_each_shard_is_a_part_of_the_whole(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    items = texts(*(b"%d" % n for n in range(10)))
    folder = data_set(monkeypatch, tmp_path / "out", items, ["text/bytes"], shard_items=4)
    records = [write_shard(folder.path, shard, tell=quiet) for shard in (2, 0, 1)]
    assert [record.items for record in records] == [2, 4, 4]
    keys = [
        row.key
        for record in sorted(records, key=lambda r: r.shard)
        for row in written(folder, record)
    ]
    assert keys == [f"key{n}" for n in range(10)]


def test_blamed_items_are_never_touched(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    items = texts(b"a", b"b", b"c")
    folder = data_set(monkeypatch, tmp_path / "out", items, ["text/bytes"])
    told: list[str] = []
    record = write_shard(
        folder.path, 0, tell=quiet, at=told.append, blamed={"list#1": "it kills"}, careful=True
    )
    assert (record.items, record.written, record.reasons) == (3, 2, {"Crash": 1})
    assert folder.read_rejects(0) == [Reject("list#1", "key1", "Crash", "it kills")]
    # Each is told before it is opened, and its end before anything else is begun.
    assert [position for position in told if position] == ["list#0", "list#2"]
    assert told[told.index("list#0") + 1] == ""
    assert told[-1] == ""


def test_only_a_careful_run_says_where_it_is(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    folder = data_set(monkeypatch, tmp_path / "out", texts(b"a", b"b"), ["text/bytes"])
    told: list[str] = []
    write_shard(folder.path, 0, tell=quiet, at=told.append)
    assert told == []


def test_a_careful_run_is_at_one_item_when_its_source_reads_the_next(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    told: list[str] = []

    class Telling(Sequence[Item]):
        """Items that tell when they are read."""

        items = texts(b"a", b"b")

        def __len__(self) -> int:
            return len(self.items)

        def __getitem__(self, index: Any) -> Any:
            return self.items[index]

        def __iter__(self) -> Iterator[Item]:
            for item in self.items:
                told.append(f"read {item.position}")
                yield item

    folder = data_set(monkeypatch, tmp_path / "out", Telling.items, ["text/bytes"])
    home = Folder(folder.path)
    job, _, vocabulary = shards._data_set(folder.path)
    temporary = home.temporary("0")
    shards.write_entries(
        job, vocabulary, Telling(), temporary, 0, tell=quiet, at=told.append, careful=True
    )
    assert told == ["read list#0", "list#0", "", "read list#1", "list#1", ""]


def test_progress_only_grows_and_ends_with_all(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(shards, "WINDOW_PARTS", 7)
    entries: list[Item | Reject] = [*texts(*(b"x" * n for n in range(50)))]
    entries[20] = Reject("list#20", "", "InvalidInput", "broken")
    folder = data_set(monkeypatch, tmp_path / "out", entries, ["text/bytes"])
    told: list[Progress] = []
    write_shard(folder.path, 0, tell=told.append)
    assert len(told) == 8
    counts = [(p.items, p.rejects, p.tokens, p.nbytes) for p in told]
    for before, after in pairwise(counts):
        assert all(a <= b for a, b in zip(before, after, strict=True))
    size = sum(range(50)) - 20
    assert counts[-1] == (50, 1, size, size)
    assert told[-1].last == "list#20: broken"


def assert_nothing_is_left(folder: Folder) -> None:
    assert sorted(files_of(folder)) == ["job.json", "plan.jsonl", "vocabulary.json"]
    assert not list(folder.unfinished.iterdir())
    names = [thread.name for thread in threading.enumerate()]
    assert "omnicodec-stage" not in names


@pytest.mark.parametrize("careful", [False, True])
def test_what_a_source_raises_ends_the_shard(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, careful: bool
) -> None:
    entries = [*texts(b"a", b"b"), Unavailable("the network is gone")]
    folder = data_set(monkeypatch, tmp_path / "out", entries, ["text/bytes"])
    with pytest.raises(Unavailable, match="the network is gone"):
        write_shard(folder.path, 0, tell=quiet, careful=careful)
    assert_nothing_is_left(folder)


def test_items_that_a_source_loses_are_missed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    folder = data_set(monkeypatch, tmp_path / "out", texts(b"a", b"b"), ["text/bytes"])
    from omnicodec.service.batch import sources

    short = type("Short", (sources.open_source,), {"entries": texts(b"a")})  # type: ignore[misc,arg-type]
    monkeypatch.setattr(sources, "open_source", short)
    with pytest.raises(RuntimeError, match="1 items of 2 were read"):
        write_shard(folder.path, 0, tell=quiet)
    assert_nothing_is_left(folder)


@pytest.mark.parametrize("when", ["write", "close"])
def test_a_full_disk_is_one_line(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, when: str
) -> None:
    folder = data_set(monkeypatch, tmp_path / "out", texts(b"a", b"b"), ["text/bytes"])
    real = ParquetSink.open_shard

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    def open_shard(self: ParquetSink, place: Path, index: int) -> ShardWriter:
        writer = real(self, place, index)
        monkeypatch.setattr(writer, when, full)
        return writer

    monkeypatch.setattr(ParquetSink, "open_shard", open_shard)
    with pytest.raises(InvalidInput, match=r"cannot write .*: No space left on device"):
        write_shard(folder.path, 0, tell=quiet)
    assert_nothing_is_left(folder)


def test_a_cancelled_shard_leaves_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(shards, "WINDOW_PARTS", 2)
    items = texts(*(b"x" for _ in range(100)))
    folder = data_set(monkeypatch, tmp_path / "out", items, ["text/bytes"])
    cancel = threading.Event()
    with pytest.raises(Cancelled):
        write_shard(folder.path, 0, tell=lambda _: cancel.set(), cancel=cancel)
    assert_nothing_is_left(folder)
    write_shard(folder.path, 0, tell=quiet)
    assert folder.record(0).written == 100


def test_an_item_that_its_layout_refuses_is_rejected(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    real = Layout.rows

    def rows(self: Layout, key: str, source: str, tokens: Any) -> Any:
        if key == "key1":
            raise InvalidInput("it does not fit")
        return real(self, key, source, tokens)

    monkeypatch.setattr(Layout, "rows", rows)
    folder = data_set(monkeypatch, tmp_path / "out", texts(b"a", b"b", b"c"), ["text/bytes"])
    record = write_shard(folder.path, 0, tell=quiet)
    assert (record.written, record.rejects) == (2, 1)
    assert folder.read_rejects(0) == [Reject("list#1", "key1", "InvalidInput", "it does not fit")]
    assert record.codecs["text/bytes"].parts == 2


def test_a_folder_without_a_job_is_told(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="is not the folder of a data set"):
        write_shard(tmp_path, 0, tell=quiet)
    for name in ("job.json", "plan.jsonl"):
        (tmp_path / name).write_text(json.dumps({"job": 1}))
    with pytest.raises(InvalidInput, match="not a job of this version"):
        write_shard(tmp_path, 0, tell=quiet)
