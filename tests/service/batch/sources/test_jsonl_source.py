from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from omnicodec.service.batch.documents import Item, Reject

from .reading import read, slices_of, source_of, told

Reads = Callable[..., list[Item | Reject]]


@pytest.fixture
def lines(tmp_path: Path) -> Reads:
    """Return a function that reads a file of these lines: records, or bytes as they are."""

    def of(*content: Any, name: str = "a.jsonl", **fields: Any) -> list[Item | Reject]:
        whole = [one if isinstance(one, bytes) else json.dumps(one).encode() for one in content]
        (tmp_path / name).write_bytes(b"\n".join(whole))
        return read(tmp_path / name, **fields)

    return of


def test_lines_are_items(lines: Reads) -> None:
    found = lines(
        {"id": "first", "text": "hé"},
        {"caption": "below", "image": base64.b64encode(b"p").decode()},
        b"",
        b"   \r",
        {"__key__": 5, "text": "", "url": "https://example.org"},
    )
    assert [told(one) for one in found] == [
        [("text", "hé".encode())],
        [("text", b"below"), ("image", b"p")],
        [("text", b"")],
    ]
    first = len(json.dumps({"id": "first", "text": "hé"})) + 1
    assert [one.position.rpartition("@")[2] for one in found][:2] == ["0", str(first)]
    assert [one.key for one in found] == ["first", f"a-{first}", "5"]


def test_bad_lines_are_rejects_and_the_others_are_not(lines: Reads) -> None:
    good = {"text": "good"}
    bad = {
        b"{": "not JSON",
        b'{"text": "\xff"}': "not UTF-8 at byte 10 of the line",
        b'["text"]': "a line is no JSON object",
        b'"text"': "a line is no JSON object",
        b'{"text": 1}': "column 'text' holds a number",
        b'{"text": true}': "column 'text' holds a truth value",
        b'{"text": null}': "nothing in it",
        b"{}": "nothing in it",
        b'{"image": 3}': "column 'image' holds a number",
        b'{"image": {"bytes": 3}}': "'bytes' in column 'image' is a number",
        b'{"image": {"path": ["x"]}}': "'path' in column 'image' is a list",
        b'{"image": [["a"]]}': "lists in lists",
        b'{"image": "data:image/png"}': "a data URL without data",
        b'{"image": "a\\u0000.png"}': "not the name of a file",
        b'{"n": ' + b"1" * 5000 + b"}": "not JSON",
        b"[" * 100_000: "nested too deeply",
        b'{"document": ' + b"[" * 500 + b"]" * 500 + b"}": "neither a string nor an object",
        b"\0\0\0": "not JSON",
    }
    content = [line for pair in bad for line in (pair, good)]
    found = lines(*content)
    assert [told(one) for one in found[1::2]] == [[("text", b"good")]] * len(bad)
    for one, reason in zip(found[::2], bad.values(), strict=True):
        assert isinstance(one, Reject)
        assert reason in one.reason, (one, reason)
        assert "\n" not in one.reason
        assert len(one.reason) < 400


def test_lone_surrogates_are_kept_in_texts_and_written_out_in_keys(lines: Reads) -> None:
    (item,) = lines(b'{"key": "\\ud800k", "text": "\\ud800\\ud83d\\ude00"}')
    assert item.key == r"\ud800k"
    assert told(item) == [("text", b"\xed\xa0\x80" + "😀".encode())]


def test_a_byte_order_mark_is_no_part_of_the_first_line(lines: Reads) -> None:
    assert told(lines(b'\xef\xbb\xbf{"text": "a"}')[0]) == [("text", b"a")]


@settings(max_examples=40)
@given(
    content=st.lists(
        st.none() | st.text(st.characters(codec="utf-8"), max_size=12), min_size=1, max_size=20
    ),
    items=st.integers(1, 9),
    nbytes=st.sampled_from([1, 7, 30, 90]),
    ends=st.booleans(),
)
def test_all_slices_together_are_the_file(
    tmp_path_factory: pytest.TempPathFactory,
    content: list[str | None],
    items: int,
    nbytes: int,
    ends: bool,
) -> None:
    path = tmp_path_factory.mktemp("lines") / "a.jsonl"
    whole = "\n".join("" if text is None else json.dumps({"text": text}) for text in content)
    path.write_text(whole + "\n" * ends)
    found = [told(one) for one in read(path, items, nbytes)]
    assert found == [[("text", text.encode())] for text in content if text is not None]
    assert sum(piece.nbytes for piece in slices_of(source_of(path), items, nbytes)) == len(
        path.read_bytes()
    )


@pytest.mark.parametrize("end", [".gz", ".zst"])
def test_compressed_files_are_one_slice(tmp_path: Path, end: str) -> None:
    plain = b"".join(json.dumps({"text": f"{n} " * 500}).encode() + b"\n" for n in range(50))
    pack: Callable[[bytes], bytes] = (
        gzip.compress if end == ".gz" else zstandard.ZstdCompressor().compress
    )
    path, other = tmp_path / f"a.jsonl{end}", tmp_path / "a.jsonl"
    other.write_bytes(plain)
    path.write_bytes(pack(plain))
    assert len(slices_of(source_of(path), 1)) == 1
    items = [told(one) for one in read(other)]
    assert [told(one) for one in read(path)] == items
    path.write_bytes(pack(plain)[:-20])
    *some, last = read(path)
    assert [told(one) for one in some] == items[: len(some)]
    assert isinstance(last, Reject)
    assert last.error == "CorruptStream"
    path.write_bytes(b"nothing of the kind")
    assert "CorruptStream" in told(read(path)[0])


def test_a_line_over_the_limit_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    with open(path, "wb") as file:
        file.write(b'{"text": "before"}\n{"text": "')
        for _ in range(30):
            file.write(b"x" * (1 << 20))
        file.write(b'"}\n{"text": "after"}\n{"text": "' + b"y" * 1001 + b'"}')
    for nbytes in (1 << 40, 1 << 22):
        before, big, after, small = read(path, nbytes=nbytes, max_bytes=1000)
        assert told(big) == "LimitExceeded: a line is longer than 1,049,909 bytes"
        assert [told(before), told(after)] == [[("text", b"before")], [("text", b"after")]]
        assert told(small) == "LimitExceeded: 1,001 bytes are over the limit of 1,000"


def test_base64_over_the_limit_is_not_decoded(lines: Reads) -> None:
    (reject,) = lines({"image": "A" * 100_000}, max_bytes=1000)
    assert "LimitExceeded: 74,998 bytes are over" in told(reject)


def test_a_file_that_is_gone_is_a_reject_a_slice(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'{"text": "a"}\n' * 10)
    source = source_of(path)
    pieces = slices_of(source, 4)
    path.unlink()
    found = [one for piece in pieces for one in source.read(piece)]
    assert len(found) == len(pieces) == 3
    assert len({one.position for one in found}) == 3
    assert all("No such file" in told(one) for one in found)


def test_names_are_relative_to_the_file_s_folder(tmp_path: Path) -> None:
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "p.png").write_bytes(folder.encode())
        (tmp_path / folder / "a.jsonl").write_text('{"image": "p.png"}')
    found = read(tmp_path, kind="jsonl")
    assert [told(one) for one in found] == [[("image", b"one")], [("image", b"two")]]


def test_a_column_holds_what_it_is_said_to_hold(lines: Reads) -> None:
    record = {"a": "some text", "b": {"base64": "cA=="}, "c": [{"data": "cA"}, {"bytes": "cA"}]}
    (item,) = lines(record, columns={"c": "audio", "b": "image", "a": "text"})
    assert told(item) == [("audio", b"p"), ("audio", b"p"), ("image", b"p"), ("text", b"some text")]
