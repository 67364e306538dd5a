"""The page of a data set: counts against numpy's, samples, hostile names, and one pass."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from fractions import Fraction
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from omnicodec.codecs import CorruptStream, Text, Video
from omnicodec.codecs.vocabulary import Vocabulary
from omnicodec.service.batch.contents import Contents
from omnicodec.service.batch.detokenize import detokenize
from omnicodec.service.batch.report import Report, examples, gather, write_report
from omnicodec.service.batch.report_charts import frequencies, histogram, shares
from omnicodec.service.batch.report_tally import WHOLE, Lengths, Tally, counted_rows
from omnicodec.service.batch.sinks.base import RawRow, Row, Rows

from .rows import FLAT, Parts, items, picture, text
from .shown import HOSTILE, ITEMS, caption, shown_data_set, write_items

pytestmark = pytest.mark.usefixtures("blocks")


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_items(tmp_path_factory.mktemp("report") / "items")


@pytest.fixture
def raw(source: Path, tmp_path: Path) -> Path:
    return shown_data_set(source, tmp_path / "raw")


def report_of(folder: Path, **options: Any) -> Report:
    with Contents.open(folder) as contents:
        return gather(contents, **options)


def page_of(folder: Path, path: Path, **options: Any) -> str:
    with Contents.open(folder) as contents:
        write_report(contents, path, **options)
    return path.read_text()


class Page(HTMLParser):
    """The tags of a page, what it asks for, and the text in its tables."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.open: list[str] = []
        self.addresses: list[str] = []
        self.handlers: list[str] = []
        self.cells: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag not in ("meta", "img", "br", "input"):
            self.open.append(tag)
        self.addresses += [str(v) for k, v in attrs if k in ("src", "href", "srcset", "action")]
        self.handlers += [k for k, _ in attrs if k.startswith("on")]

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] in ("td", "th"):
            self.cells.append(data)


def test_the_page_is_whole_and_asks_for_nothing(raw: Path, tmp_path: Path) -> None:
    page = Page(page_of(raw, tmp_path / "page.html"))
    assert page.open == []
    assert all(address.startswith("data:") for address in page.addresses)
    assert page.addresses
    assert page.handlers == []
    assert "script" not in page.tags
    assert not re.search(r"url\(|@import", (tmp_path / "page.html").read_text())


def test_figures_are_those_of_the_items(raw: Path, tmp_path: Path) -> None:
    report = report_of(raw)
    tally = report.tally
    lengths = dict(tally.lengths())
    texts = [len(caption(n).encode()) for n in range(ITEMS) if n % 4 != 2]
    assert lengths["text/bytes"].total == sum(texts)
    assert (lengths["text/bytes"].least, lengths["text/bytes"].most) == (min(texts), max(texts))
    assert lengths["image/coarse"].count == len([n for n in range(ITEMS) if n % 4 != 1])
    assert lengths[WHOLE].count == ITEMS
    counts = np.bincount(
        np.frombuffer("".join(caption(n) for n in range(ITEMS) if n % 4 != 2).encode(), np.uint8),
        minlength=256,
    )
    (book,) = tally.codecs["text/bytes"].books
    assert book.counts.tolist() == counts.tolist()
    page = Page(page_of(raw, tmp_path / "page.html"))
    assert f"{sum(texts):,}" in page.cells
    for codec in report.manifest.job.codecs:
        assert codec.fingerprint in page.cells


def test_rejects_are_shown_by_reason_with_examples(raw: Path, tmp_path: Path) -> None:
    page = page_of(raw, tmp_path / "page.html")
    section = page.partition("<h2>Rejects</h2>")[2].partition("<h2>")[0]
    assert "2 of 14 items (14.3 %)" in section
    assert "items.jsonl" in section
    assert "InvalidInput" in section
    found = examples(raw / "rejects.jsonl")
    assert [len(some) for some in found.values()] == [2]
    assert examples(raw / "none.jsonl") == {}
    (raw / "rejects.jsonl").write_bytes(b'{"position": 1}\n')
    with pytest.raises(CorruptStream, match="not a list of rejects"):
        examples(raw / "rejects.jsonl")


def test_hostile_names_are_text(raw: Path, tmp_path: Path) -> None:
    page = page_of(raw, tmp_path / "page.html")
    assert HOSTILE not in page
    assert "<b>0</b>" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page


def test_originals_stand_beside_what_came_back(raw: Path, tmp_path: Path) -> None:
    report = report_of(raw)
    kinds = {tuple(part.modality for part in sample.parts) for sample in report.samples}
    assert kinds == {("image",), ("text",), ("image", "text")}
    for sample in report.samples:
        assert sample.origin == ""
        for part in sample.parts:
            assert part.restored is not None
            if part.modality == "text":
                assert part.original == part.restored
            else:
                assert part.original is not None
                assert part.original.pixels.shape == part.restored.pixels.shape  # type: ignore[attr-defined]
    page = page_of(raw, tmp_path / "page.html")
    assert "dB PSNR" in page
    assert "<p>original " in page


def test_sources_that_are_gone_leave_what_came_back(tmp_path: Path) -> None:
    source = write_items(tmp_path / "items")
    data_set = shown_data_set(source, tmp_path / "set")
    source.rename(tmp_path / "elsewhere.jsonl")
    report = report_of(data_set)
    assert {sample.origin for sample in report.samples} == {
        "the original is no longer where it was"
    }
    assert all(part.restored is not None for s in report.samples for part in s.parts)
    assert "no longer where it was" in page_of(data_set, tmp_path / "page.html")


@pytest.mark.parametrize(
    ("form", "wishes"),
    [
        ("wds", {"layout": "document"}),
        ("megatron", {"length": 64, "packing": "concatenate"}),
        ("parquet", {"length": 96}),
    ],
)
def test_counts_do_not_depend_on_format_and_layout(
    raw: Path, source: Path, tmp_path: Path, form: str, wishes: dict[str, Any]
) -> None:
    expected = report_of(raw)
    found = report_of(shown_data_set(source, tmp_path / "set", format=form, **wishes))
    for name, codec in expected.tally.codecs.items():
        other = found.tally.codecs[name]
        assert list(codec.lengths.items()) == list(other.lengths.items())
        for a, b in zip(codec.books, other.books, strict=True):
            assert np.array_equal(a.counts, b.counts)


def test_packing_is_told(source: Path, tmp_path: Path) -> None:
    data_set = shown_data_set(source, tmp_path / "set", length=96)
    page = page_of(data_set, tmp_path / "page.html")
    with Contents.open(data_set) as contents:
        figures = contents.manifest.packing
    section = page.partition("<h2>Packing</h2>")[2].partition("<h2>")[0]
    filled = 100 * figures["tokens"] / (figures["tokens"] + figures["padding"])
    assert f"{filled:.1f} %" in section
    assert "best-fit" in section
    assert "do not say where they came from" in page


def test_the_same_data_set_gives_the_same_page(raw: Path, tmp_path: Path) -> None:
    pages = [page_of(raw, tmp_path / f"{n}.html", rows=5) for n in range(2)]
    assert pages[0] == pages[1]
    assert hashlib.sha256(pages[0].encode()).hexdigest()
    assert "of 12 rows" in pages[0]


class Damaged(Rows):
    """Texts, every third of which cannot be read."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.asked: list[int] = []

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> Row:
        self.asked.append(index)
        if index % 3 == 2:
            raise CorruptStream("a page is damaged")
        return RawRow(str(index), "", (text(5, index),))


def test_rows_that_are_damaged_are_told_and_passed_over(raw: Path, tmp_path: Path) -> None:
    with Contents.open(raw) as contents:
        contents.vocabulary, contents.rows = FLAT, Damaged(30)
        report = gather(contents)
        assert (report.counted, report.tally.unread) == (20, 10)
        assert report.tally.codecs["text/bytes"].lengths.total == 20 * 5
        write_report(contents, tmp_path / "page.html")
    assert "row 2 cannot be read: a page is damaged" in (tmp_path / "page.html").read_text()


def test_no_more_rows_are_read_than_asked(raw: Path) -> None:
    with Contents.open(raw) as contents:
        rows = Damaged(100_000)
        contents.vocabulary, contents.rows = FLAT, rows
        done: list[int] = []
        report = gather(contents, rows=640, watch=done.append)
    assert rows.asked == sorted(set(rows.asked))
    assert len(rows.asked) == 640
    assert (rows.asked[0], rows.asked[-1]) == (0, 99_999)
    assert report.counted + report.tally.unread == 640
    assert done == sorted(done)


def test_nothing_that_can_be_read_is_an_error(raw: Path) -> None:
    class Gone(Damaged):
        def __getitem__(self, index: int) -> Row:
            raise CorruptStream("all is damaged")

    with Contents.open(raw) as contents:
        contents.rows = Gone(3)
        with pytest.raises(CorruptStream, match="row 0 cannot be read: all is damaged"):
            gather(contents)


def test_an_empty_data_set_has_a_page(tmp_path: Path) -> None:
    source = tmp_path / "items.jsonl"
    source.write_text(json.dumps({"id": "a", "image": "gone.png"}) + "\n")
    page = Page(page_of(shown_data_set(source, tmp_path / "set"), tmp_path / "page.html"))
    assert page.open == []


@given(st.lists(st.integers(0, 1 << 24), min_size=1, max_size=200))
def test_lengths(values: list[int]) -> None:
    lengths = Lengths()
    for value in values:
        lengths.add(value)
    assert (lengths.count, lengths.total) == (len(values), sum(values))
    assert (lengths.least, lengths.most) == (min(values), max(values))
    assert sum(count for _, count in lengths.items()) == len(values)
    for share in (0.0, 0.05, 0.5, 0.95, 1.0):
        exact = int(np.quantile(values, share, method="inverted_cdf"))
        assert exact * (1 - 1 / 128) <= lengths.quantile(share) <= exact
    ElementTree.fromstring(histogram(lengths, "a & b", "own0"))
    drawn = histogram(lengths, "a & b", "own0")
    assert sum(int(n.replace(",", "")) for n in re.findall(r": ([\d,]+) items", drawn)) == len(
        values
    )


def test_memory_of_lengths_is_bounded() -> None:
    lengths = Lengths()
    for value in range(0, 1 << 24, 97):
        lengths.add(value)
    assert len(list(lengths.items())) < 256 + 128 * 17


@given(items(FLAT))
def test_books_are_counted_as_numpy_does(documents: list[Parts]) -> None:
    tally = Tally(FLAT)
    for parts in documents:
        tally.add(parts, whole=True)
    for name, codec in tally.codecs.items():
        ids = [part.ids[0] for parts in documents for part in parts if part.codec == name]
        flat = np.concatenate([np.empty(0, np.int32), *ids])
        (book,) = codec.books
        assert book.counts.tolist() == np.bincount(flat, minlength=book.size).tolist()
        assert book.seen == np.unique(flat).size
        if flat.size:
            counts = np.unique(flat, return_counts=True)[1] / flat.size
            assert book.entropy == pytest.approx(-(counts * np.log2(counts)).sum(), abs=1e-9)
            assert 1 <= book.perplexity <= book.seen + 1e-6


def test_pieces_count_for_codebooks_alone() -> None:
    tally = Tally(FLAT)
    tally.add([text(7), picture(2, 3)], whole=False)
    assert tally.codecs["image/vq"].books[0].tokens == 6
    assert list(tally.lengths()) == []
    assert tally.cut == 1


@given(st.integers(0, 10_000), st.integers(1, 2000))
def test_rows_that_are_counted(rows: int, limit: int) -> None:
    count, numbers = counted_rows(rows, limit)
    found = list(numbers)
    assert len(found) == count <= limit
    assert found == sorted(set(found))
    assert not found or (found[0] >= 0 and found[-1] < rows)
    assert count == rows or count > limit - 64


def charts() -> Iterator[str]:
    ranks = np.array([0.5, 0.3, 0.2])
    yield frequencies([("a<b", ranks), ("one", np.array([1.0]))], "x & y")
    yield frequencies([("flat", np.full(5000, 1 / 5000))], "many")
    yield shares([("a<b", 3), ("c", 1), ("none", 0)], "x & y")


def test_charts_are_well_formed() -> None:
    for chart in charts():
        root = ElementTree.fromstring(chart)
        numbers = [
            float(n)
            for element in root.iter()
            for name in ("x", "y", "width", "height", "cx", "cy", "points")
            for n in re.findall(r"-?[\d.]+", element.get(name, ""))
        ]
        assert numbers
        assert all(-1 <= number <= 641 for number in numbers)
    assert shares([("a", 0)], "nothing") == ""


def test_texts_that_changed_are_shown_twice(tmp_path: Path) -> None:
    source = tmp_path / "texts.jsonl"
    source.write_text(json.dumps({"id": "a", "text": "before"}) + "\n")
    data_set = shown_data_set(source, tmp_path / "set")
    source.write_text(json.dumps({"id": "a", "text": "behind"}) + "\n")
    (sample,) = report_of(data_set).samples
    assert sample.parts[0].original == Text(b"behind")
    page = page_of(data_set, tmp_path / "page.html")
    assert "<pre>before</pre>" in page
    assert "<pre>behind</pre>" in page


def test_a_codec_that_is_not_here_leaves_its_samples_out(raw: Path, tmp_path: Path) -> None:
    manifest = json.loads((raw / "manifest.json").read_text())
    for codec in manifest["job"]["codecs"]:
        codec["fingerprint"] = "0123456789abcdef"
    (raw / "manifest.json").write_text(json.dumps(manifest))
    report = report_of(raw)
    assert report.samples
    assert all(part.restored is None for sample in report.samples for part in sample.parts)
    assert "begun with 0123456789abcdef" in page_of(raw, tmp_path / "page.html")


def test_clips_are_shown_and_written_again(film_codec: str, tmp_path: Path) -> None:
    (tmp_path / "films").mkdir()
    frames = np.zeros((3, 16, 24, 3), np.uint8) + np.arange(24, dtype=np.uint8)[:, None] * 8
    Video(frames, Fraction(10)).save(tmp_path / "films" / "one.mp4")
    data_set = shown_data_set(tmp_path / "films", tmp_path / "set", codecs=[film_codec])
    page = page_of(data_set, tmp_path / "page.html")
    assert page.count("data:video/webm;base64,") == 2  # the original and what came back
    with Contents.open(data_set) as contents:
        detokenize(contents, tmp_path / "out", range(1))
    restored = Video.open(tmp_path / "out" / "one.mp4")
    assert restored.frames.shape == frames.shape
    assert "<video controls" in (tmp_path / "out" / "index.html").read_text()


def test_the_vocabulary_and_its_ranges(raw: Path, tmp_path: Path) -> None:
    page = Page(page_of(raw, tmp_path / "page.html"))
    vocabulary = Vocabulary.load(raw / "vocabulary.json")
    books = vocabulary.entries[1].codebook_sizes
    last = vocabulary.id_range("image/coarse", len(books) - 1)
    assert f"{last.stop - 1:,}" in page.cells
    assert f"{vocabulary.id_range('image/coarse').start:,}" in page.cells
