from __future__ import annotations

import gzip
import io
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from omnicodec.codecs import CorruptStream
from omnicodec.service.batch.documents import Item, Reject
from omnicodec.service.batch.sources.tar_members import TarReader

from .reading import read, slices_of, source_of, told

FORMATS = [tarfile.USTAR_FORMAT, tarfile.PAX_FORMAT, tarfile.GNU_FORMAT]


def tar(*members: tuple[str, bytes] | tarfile.TarInfo, form: int = tarfile.PAX_FORMAT) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=form) as file:
        for member in members:
            if isinstance(member, tarfile.TarInfo):
                file.addfile(member)
            else:
                info = tarfile.TarInfo(member[0])
                info.size = len(member[1])
                file.addfile(info, io.BytesIO(member[1]))
    return out.getvalue()


def special(name: str, kind: bytes, target: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


@pytest.fixture
def shard(tmp_path: Path) -> Callable[..., list[Item | Reject]]:
    """Return a function that reads a tar of these bytes."""

    def of(data: bytes, name: str = "a.tar", **fields: Any) -> list[Item | Reject]:
        (tmp_path / name).write_bytes(data)
        return read(tmp_path / name, **fields)

    return of


@pytest.mark.parametrize("form", FORMATS)
@given(
    members=st.lists(
        st.tuples(
            st.text(
                st.characters(codec="utf-8", exclude_characters="\0/", exclude_categories=["Cc"]),
                min_size=1,
                max_size=90,
            ),
            st.binary(max_size=1500),
        ),
        max_size=5,
    )
)
def test_members_are_those_that_tarfile_wrote(form: int, members: list[tuple[str, bytes]]) -> None:
    if form == tarfile.USTAR_FORMAT:
        members = [(name, data) for name, data in members if len(name.encode()) <= 100]
    reader = TarReader(io.BytesIO(tar(*members, form=form)))
    assert [(one.name, reader.data()) for one in reader.members()] == members
    reader.check_end()


@pytest.mark.parametrize("form", FORMATS)
def test_long_names(form: int) -> None:
    name = "/".join(["folder" * 8] * 3) + "/x.jpg"
    member = (name if form == tarfile.USTAR_FORMAT else "y" * 300 + name, b"abc")
    reader = TarReader(io.BytesIO(tar(member, ("b.txt", b""), form=form)))
    assert [(one.name, reader.data()) for one in reader.members()] == [member, ("b.txt", b"")]


def test_members_of_one_key_are_one_item(shard: Callable[..., list[Item | Reject]]) -> None:
    data = tar(
        ("d", b""), ("x/000.JPG", b"picture"), ("x/000.txt", b"caption"), ("x/000.cls", b"7"),
        ("x/001.seg.png", b"mask"), ("README", b""), (".hidden.jpg", b"?"), ("__meta__.txt", b"?"),
        ("002.json", b"{}"),
    )  # fmt: skip
    first, second, third = shard(data)
    assert told(first) == [("image", b"picture"), ("text", b"caption")]
    assert first.key == "x/000"
    assert first.position.endswith("/a.tar#x/000")
    assert [part.name for part in first.parts] == ["x/000.JPG", "x/000.txt"]
    assert told(second) == [("image", b"mask")]
    assert told(third) == "InvalidInput: no member is text or media: json"


def test_keys_are_those_of_webdataset(shard: Callable[..., list[Item | Reject]]) -> None:
    iterators = pytest.importorskip("webdataset.tariterators")
    names = ["a.jpg", "a.b.txt", "b/a.txt", ".c.txt", "b.d/e.f.txt", "noend", "g.TXT", "g.jpg"]
    data = tar(*((name, name.encode()) for name in names))
    files = ({**one, "__url__": ""} for one in iterators.tar_file_iterator(io.BytesIO(data)))
    samples = list(iterators.group_by_keys(files))
    found = shard(data)
    assert [one.key for one in found] == [sample["__key__"] for sample in samples]
    for one, sample in zip(found, samples, strict=True):
        assert isinstance(one, Item)
        wanted = [value for name, value in sample.items() if not name.startswith("__")]
        assert [part.read() for part in one.parts] == wanted


def test_columns_choose_members_and_their_order(shard: Callable[..., list[Item | Reject]]) -> None:
    data = tar(("0.jpg", b"p"), ("0.txt", b"t"), ("0.json", b"{}"), ("1.seg.png", b"m"))
    found = shard(data, columns={"json": "text", "jpg": "image", "seg.png": "image"})
    assert [told(one) for one in found] == [[("text", b"{}"), ("image", b"p")], [("image", b"m")]]


@pytest.mark.parametrize("name", ["/etc/passwd.txt", "../up.txt", "a/../../up.txt"])
def test_names_that_lead_out_are_rejects(
    shard: Callable[..., list[Item | Reject]], name: str
) -> None:
    found = shard(tar(("a.txt", b"a"), (name, b"x"), ("b.txt", b"b")))
    assert [told(one) for one in found] == [
        [("text", b"a")],
        f"InvalidInput: the name {name!r} leads out of the tar",
        [("text", b"b")],
    ]


@pytest.mark.parametrize(
    "kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE]
)
def test_a_sample_with_what_is_no_file_is_a_reject(
    shard: Callable[..., list[Item | Reject]], kind: bytes
) -> None:
    found = shard(tar(("a.jpg", b"p"), special("a.txt", kind, "/etc/passwd"), ("b.txt", b"b")))
    assert isinstance(found[0], Reject)
    assert "'a.txt' is a" in found[0].reason
    assert [told(one) for one in found[1:]] == [[("text", b"b")]]


def test_duplicate_keys_and_members_are_rejects(shard: Callable[..., list[Item | Reject]]) -> None:
    data = tar(
        ("a.txt", b"1"), ("b.txt", b"2"), ("a.jpg", b"3"),
        ("c.txt", b"4"), ("c.TXT", b"5"), ("d.txt", b"6"), ("a.txt", b"7"),
    )  # fmt: skip
    found = [told(one) for one in shard(data)]
    again = "InvalidInput: the key 'a' has been in this tar before"
    assert found == [
        [("text", b"1")],
        [("text", b"2")],
        again,
        "InvalidInput: two members 'c.TXT'",
        [("text", b"6")],
        again,
    ]


def test_of_a_tar_cut_off_anywhere_whole_samples_are_items(
    shard: Callable[..., list[Item | Reject]],
) -> None:
    whole = tar(*((f"{n}.{end}", b"x" * 600) for n in range(3) for end in ("jpg", "txt")))
    items = shard(whole)
    assert len(items) == 3
    for length in range(0, 6 * 1536, 256):
        found = shard(whole[:length])
        reject = found.pop()
        assert isinstance(reject, Reject)
        assert reject.error == "CorruptStream"
        assert found == items[: len(found)]
        # The sample that may go on behind the cut is not taken for a whole one.
        assert len(found) == max(length - 512, 0) // 3072


def test_a_damaged_header_and_what_is_no_tar(shard: Callable[..., list[Item | Reject]]) -> None:
    data = bytearray(tar(("a.txt", b"a"), ("b.txt", b"b"), form=tarfile.USTAR_FORMAT))
    data[1024] ^= 1
    (reject,) = shard(bytes(data))
    assert told(reject) == "CorruptStream: the tar is damaged or cut off at byte 1,024"
    for junk in (b"", b"\x89PNG" * 500, b"\xff" * 512):
        assert told(shard(junk)[0]) == "CorruptStream: it is no tar"


def test_two_tars_joined_are_not_taken_for_one(shard: Callable[..., list[Item | Reject]]) -> None:
    one = tar(("a.txt", b"a"))
    item, reject = shard(one + one)
    assert told(item) == [("text", b"a")]
    assert "more behind the end" in told(reject)


def header(kind: bytes, size: bytes, name: bytes = b"a.txt") -> bytes:
    block = bytearray(512)
    block[: len(name)] = name
    block[124 : 124 + len(size)] = size
    block[156:157] = kind
    block[257:265] = b"ustar\x0000"
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


@pytest.mark.parametrize("kind", [b"x", b"g", b"L", b"K"])
def test_headers_of_gigabytes_are_not_read(
    shard: Callable[..., list[Item | Reject]], kind: bytes
) -> None:
    (reject,) = shard(header(kind, b"77777777777\0") + b"x" * 4096)
    assert "CorruptStream: a header of 8,589,934,591 bytes" in told(reject)


def test_members_of_exabytes_are_not_asked_for(
    shard: Callable[..., list[Item | Reject]],
) -> None:
    data = header(b"0", b"\x80" + b"\x7f" * 11)
    for limit in (None, 1000):
        (reject,) = shard(data + b"x" * 512, max_bytes=limit)
        assert told(reject) == "CorruptStream: the tar is cut off at byte 1,024"
    assert "CorruptStream" in told(shard(header(b"0", b"\xff" * 12))[0])


@pytest.mark.parametrize("record", [b"9999 path=x\n", b"-5 path=x\n", b"0 x=y\n", b"12 path\n"])
def test_damaged_pax_records(shard: Callable[..., list[Item | Reject]], record: bytes) -> None:
    block = header(b"x", b"%011o\0" % len(record)) + record.ljust(512, b"\0")
    (reject,) = shard(block + tar(("a.txt", b"a")))
    assert "CorruptStream" in told(reject)


def test_samples_over_the_limit_are_rejects(shard: Callable[..., list[Item | Reject]]) -> None:
    data = tar(("a.jpg", b"x" * 6), ("a.txt", b"x" * 6), ("b.txt", b"x" * 10))
    found = [told(one) for one in shard(data, max_bytes=10)]
    assert found == ["LimitExceeded: 12 bytes are over the limit of 10", [("text", b"x" * 10)]]


@pytest.mark.parametrize("name", ["a.tar.gz", "a.tgz", "a.tar.zst"])
def test_compressed_tars(shard: Callable[..., list[Item | Reject]], name: str) -> None:
    plain = tar(*((f"{n}.txt", bytes([65 + n]) * 3000) for n in range(4)))
    pack: Callable[[bytes], bytes] = (
        zstandard.ZstdCompressor().compress if name.endswith("zst") else gzip.compress
    )
    whole = [told(one) for one in shard(plain)]
    assert [told(one) for one in shard(pack(plain), name)] == whole
    cut = shard(pack(plain)[:-5], name)
    assert isinstance(cut[-1], Reject)
    assert [told(one) for one in cut[:-1]] == whole[: len(cut) - 1]
    assert "CorruptStream" in told(shard(b"no such thing", name)[0])


def test_tars_of_a_folder_and_one_that_is_gone(tmp_path: Path) -> None:
    for number in range(3):
        (tmp_path / f"{number}.tar").write_bytes(tar((f"{number}.txt", b"x"), ("same.txt", b"y")))
    (tmp_path / "notes.txt").write_text("no tar")
    source = source_of(tmp_path)
    pieces = slices_of(source)
    assert [piece.path for piece in pieces] == ["0.tar", "1.tar", "2.tar"]
    (tmp_path / "1.tar").unlink()
    found = [told(one) for piece in pieces for one in source.read(piece)]
    text = [[("text", b"x")], [("text", b"y")]]
    assert found[:2] == found[3:] == text
    assert "No such file or directory" in found[2]
    assert len(read(f"{tmp_path}/{{0,2}}.tar")) == 4


def test_names_that_are_not_utf8(shard: Callable[..., list[Item | Reject]]) -> None:
    block = header(b"0", b"%011o\0" % 1, b"\xff.txt") + b"x".ljust(512, b"\0")
    (item,) = shard(block + bytes(1024))
    assert (item.key, told(item)) == (r"\xff", [("text", b"x")])


def test_sparse_files_are_not_read(shard: Callable[..., list[Item | Reject]]) -> None:
    data = header(b"S", b"%011o\0" % 0) + bytes(1024)
    assert told(shard(data)[0]) == "InvalidInput: 'a.txt' is a sparse file, not a file"


@given(st.binary(max_size=3000), st.integers(0, 2))
def test_no_bytes_raise_anything_but_corrupt_stream(data: bytes, kind: int) -> None:
    before = [b"", header(b"x", b"%011o\0" % 512), header(b"L", b"%011o\0" % 20)][kind]
    reader = TarReader(io.BytesIO(before + data))
    try:
        for _ in reader.members():
            reader.data()
    except CorruptStream:
        pass
