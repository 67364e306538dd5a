from __future__ import annotations

import base64
import io
import random
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omnicodec.codecs import InvalidInput
from omnicodec.service.batch.documents import Item, Reject
from omnicodec.service.batch.sources.parquet import _check

from .reading import read, slices_of, source_of, told

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")

KINDS = ["parquet", "arrow", "stream"]


def write(
    folder: Path, table: Any, kind: str, rows: int = 3, name: str = "t", **fields: Any
) -> Path:
    """Write a table in groups or batches of so many rows."""
    path = folder / f"{name}.{'parquet' if kind == 'parquet' else 'arrow'}"
    if kind == "parquet":
        pq.write_table(table, path, row_group_size=rows, **fields)
        return path
    make = pa.ipc.new_stream if kind == "stream" else pa.ipc.new_file
    options = pa.ipc.IpcWriteOptions(**fields)
    with pa.OSFile(str(path), "wb") as file, make(file, table.schema, options=options) as out:
        out.write_table(table, max_chunksize=rows)
    return path


@pytest.mark.parametrize("kind", KINDS)
def test_rows_are_items(tmp_path: Path, kind: str) -> None:
    table = pa.table(
        {
            "id": [7, 8, None, 10],
            "text": ["a", "", None, "ä"],
            "score": [0.5, 1.0, 1.5, 2.0],
            "image": pa.array([b"p", None, None, b""], pa.binary()),
        }
    )
    path = write(tmp_path, table, kind)
    found = read(path)
    assert [one.position for one in found] == [f"{path}#{row}" for row in range(4)]
    assert [one.key for one in found] == ["7", "8", "t-2", "10"]
    assert [told(one) for one in found] == [
        [("text", b"a"), ("image", b"p")],
        [("text", b"")],
        "InvalidInput: nothing in it is text or media; its columns can be told",
        [("text", "ä".encode()), ("image", b"")],
    ]


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=25)
@given(
    values=st.lists(st.none() | st.text(max_size=5), min_size=1, max_size=40),
    rows=st.integers(1, 15),
    items=st.integers(1, 12),
    nbytes=st.sampled_from([1, 400, 1 << 20]),
    pictures=st.booleans(),
)
def test_all_slices_together_are_the_table(
    tmp_path_factory: pytest.TempPathFactory,
    kind: str,
    values: list[str | None],
    rows: int,
    items: int,
    nbytes: int,
    pictures: bool,
) -> None:
    columns: dict[str, Any] = {"text": pa.array(values, pa.string())}
    if pictures:  # the way of columns that are no bytes
        columns["image"] = [{"bytes": b"p", "path": None}] * len(values)
    path = write(tmp_path_factory.mktemp("table"), pa.table(columns), kind, rows)
    rest = [("image", b"p")] if pictures else []
    wanted = [[*([("text", v.encode())] if v is not None else []), *rest] for v in values]
    found = read(path, items, nbytes)
    assert [told(one) if isinstance(one, Item) else [] for one in found] == wanted
    pieces = slices_of(source_of(path), items, nbytes)
    assert [pieces[0].start, *(piece.stop for piece in pieces)] == [
        *(piece.start for piece in pieces),
        len(values),
    ]
    assert all(piece.items is not None and piece.items <= items for piece in pieces)


@pytest.mark.parametrize(
    "kind",
    [
        "string",
        "large_string",
        "string_view",
        "binary",
        "large_binary",
        "binary_view",
        "dictionary",
    ],
)
@pytest.mark.parametrize("file", KINDS)
def test_all_kinds_of_strings_and_bytes(tmp_path: Path, kind: str, file: str) -> None:
    if kind == "dictionary":
        column = pa.array(["aa", None, "b", "aa", ""]).dictionary_encode()
    else:
        column = pa.array([b"aa", None, b"b", b"aa", b""], pa.binary()).cast(
            pa.large_binary() if "large" in kind else pa.binary()
        )
        column = column.cast(getattr(pa, kind)())
    try:
        path = write(tmp_path, pa.table({"text": column}), file, 2)
    except pa.ArrowNotImplementedError:
        pytest.skip("this version of Arrow does not write it")
    found = [told(one) if isinstance(one, Item) else None for one in read(path, 2)]
    aa, b, empty = ([("text", data)] for data in (b"aa", b"b", b""))
    assert found == [aa, None, b, aa, empty]


@pytest.mark.parametrize("compression", ["lz4", "zstd"])
def test_compressed_batches(tmp_path: Path, compression: str) -> None:
    table = pa.table({"text": [f"text {n}" * 50 for n in range(20)]})
    path = write(tmp_path, table, "arrow", 7, compression=compression)
    found = read(path, 4)
    assert [told(one)[0][1].decode() for one in found] == table["text"].to_pylist()


def test_cells_of_many_kinds(tmp_path: Path) -> None:
    (tmp_path / "p.png").write_bytes(b"file")
    encoded = base64.b64encode(b"\xff\xfepicture").decode()
    table = pa.table(
        {
            "image": [
                encoded,
                f"data:image/png;base64,{encoded}",
                "data:image/png,%ff%fepicture",
                encoded.rstrip("=").replace("/", "_").replace("+", "-"),
                "p.png",
                "https://example.org/p.png",
                "../p.png",
                str(tmp_path / "p.png"),
                "nowhere.png",
                "not base64!",
            ]
        }
    )
    found = [told(one) for one in read(write(tmp_path, table, "parquet"))]
    assert found[:4] == [[("image", b"\xff\xfepicture")]] * 4
    assert found[4] == [("image", b"file")]
    assert "URLs are not fetched" in found[5]
    assert "not the name of a file below" in found[6]
    assert "not the name of a file below" in found[7]
    assert "no such file" in found[8]
    assert "neither base64" in found[9]


def test_lists_structs_and_numbers(tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(b"sound")
    table = pa.table(
        {
            "images": [[b"1", None, b"2"], [], None, [b"3"], []],
            "audio": [
                {"bytes": None, "path": "a.wav"},
                {"bytes": b"sound", "path": "x.wav"},
                {"bytes": None, "path": None},
                None,
                {"bytes": None, "path": "/etc/passwd"},
            ],
            "series": [[[1.0, 2.0], [3.0, 4.0]], None, None, [[1.0], [2.0, 3.0]], None],
        }
    )
    found = [told(one) for one in read(write(tmp_path, table, "arrow"))]
    assert [one[:3] for one in found[:2]] == [
        [("image", b"1"), ("image", b"2"), ("audio", b"sound")],
        [("audio", b"sound")],
    ]
    modality, data = found[0][3]
    assert modality == "series"
    assert np.load(io.BytesIO(data)).tolist() == [[1, 2], [3, 4]]
    assert "without bytes or a path" in found[2]
    assert "lists of one length" in found[3]
    assert "not the name of a file" in found[4]


def test_names_of_files_have_the_modality_of_their_suffix(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub/a.wav").write_bytes(b"sound")
    (tmp_path / "b.bin").write_bytes(b"data")
    (tmp_path / "out.png").symlink_to("/etc/passwd")
    table = pa.table(
        {"file_name": ["sub/a.wav", "b.bin", "out.png", "sub"], "text": ["x", None, None, None]}
    )
    path = write(tmp_path, table, "parquet")
    found = [told(one) for one in read(path, kind="parquet")]
    assert found[0] == [("audio", b"sound"), ("text", b"x")]
    assert "does not tell" in found[1]
    assert "leads out" in found[2]
    assert "does not tell" in found[3]
    assert told(read(path, modality="series")[1]) == [("series", b"data")]
    # Beside the sound itself, its old name is none of a file.
    table = table.append_column("audio", pa.array([b"s"] * 4, pa.binary()))
    found = [told(one) for one in read(write(tmp_path, table, "parquet"))]
    assert found[0] == [("text", b"x"), ("audio", b"s")]
    assert found[1] == [("audio", b"s")]


def test_columns_are_taken_in_the_order_given(tmp_path: Path) -> None:
    table = pa.table({"a": ["x"], "b": [b"p"], "text": ["?"], "name": ["k"]})
    path = write(tmp_path, table, "parquet")
    columns = {"b": "image", "a": "text", "name": "key", "absent": "audio"}
    (item,) = read(path, columns=columns)
    assert (item.key, told(item)) == ("k", [("image", b"p"), ("text", b"x")])
    with pytest.raises(InvalidInput, match="cannot be 'picture'"):
        source_of(path, columns={"a": "picture"})
    with pytest.raises(InvalidInput, match="one key"):
        source_of(path, columns={"a": "key", "b": "key"})


def test_files_of_different_schemas_are_each_read_by_their_own(tmp_path: Path) -> None:
    write(tmp_path, pa.table({"text": ["a"]}), "parquet", name="0")
    write(tmp_path, pa.table({"caption": ["b"], "image": [b"p"]}), "parquet", name="1")
    write(tmp_path, pa.table({"other": [1, 2]}), "parquet", name="2")
    write(tmp_path, pa.table({"text": [1.5]}), "parquet", name="3")
    twice = pa.Table.from_arrays([pa.array(["a"]), pa.array(["b"])], names=["text", "text"])
    write(tmp_path, twice, "stream", name="4")
    (tmp_path / "4.parquet").write_bytes(b"no Parquet")
    (tmp_path / "5.parquet").write_bytes(b"")
    found = read(tmp_path)
    assert [told(one) for one in found[:2]] == [[("text", b"a")], [("text", b"b"), ("image", b"p")]]
    reasons = [told(one) for one in found[2:]]
    assert len(reasons) == 6 - 1
    assert all("no column is known" in reason for reason in reasons[:2])
    assert reasons[2] == "InvalidInput: column 'text' holds a number, not text"
    assert all("not a readable Parquet file" in reason for reason in reasons[3:])
    (reject,) = read(tmp_path / "4.arrow")
    assert told(reject) == "InvalidInput: two columns have one name"


def test_of_a_damaged_page_the_rows_behind_are_rejects(tmp_path: Path) -> None:
    texts = [f"{n:04d}" * 100 for n in range(60)]
    path = write(tmp_path, pa.table({"text": texts}), "parquet", 20, use_dictionary=False)
    column = pq.ParquetFile(path).metadata.row_group(1).column(0)
    data = bytearray(path.read_bytes())
    start = column.data_page_offset
    data[start : start + 30] = b"\xff" * 30
    path.write_bytes(data)
    found = read(path, 8)
    assert [told(one) for one in found[:20]] == [[("text", t.encode())] for t in texts[:20]]
    assert all(isinstance(one, Reject) for one in found[20:40])
    assert [told(one) for one in found[40:]] == [[("text", t.encode())] for t in texts[40:]]


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_that_changes_after_planning_gives_as_many_items(tmp_path: Path, kind: str) -> None:
    path = write(tmp_path, pa.table({"text": ["a"] * 10}), kind)
    pieces = slices_of(source_of(path), 4)
    write(tmp_path, pa.table({"text": ["b"] * 5}), kind)
    source = source_of(path)
    found = [told(one) for piece in pieces for one in source.read(piece)]
    assert found[:5] == [[("text", b"b")]] * 5
    assert found[5:] == ["InvalidInput: the file has fewer rows than when the run was planned"] * 5
    path.unlink()
    source = source_of(tmp_path.joinpath("*"), kind="parquet" if kind == "parquet" else "arrow")
    found = [told(one) for piece in pieces for one in source.read(piece)]
    assert len(found) == 10
    assert all("No such file" in reason for reason in found)


@pytest.mark.parametrize("kind", ["arrow", "stream"])
def test_of_an_arrow_file_cut_off_anywhere_whole_batches_are_items(
    tmp_path: Path, kind: str
) -> None:
    table = pa.table({"text": [str(n) for n in range(9)]})
    path = write(tmp_path, table, kind, 3)
    whole = path.read_bytes()
    items = read(path)
    found_rows: list[int] = []
    whole_ones: list[int] = []
    for length in range(0, len(whole), 8):
        path.write_bytes(whole[:length])
        found = read(path)
        rows = [one for one in found if isinstance(one, Item)]
        assert rows == items[: len(rows)]
        found_rows.append(len(rows))
        if len(found) == len(rows):
            whole_ones.append(len(rows))
    assert sorted(set(found_rows)) == [0, 3, 6, 9]
    assert found_rows == sorted(found_rows)
    # A stream may end behind any batch: then nothing is known to be missing.
    assert [count for count in whole_ones if count < 9] == ([0, 3, 6] if kind == "stream" else [])
    assert 9 in whole_ones


@pytest.mark.parametrize("kind", KINDS)
def test_damaged_files_raise_nothing(tmp_path: Path, kind: str) -> None:
    picture = {"bytes": b"p", "path": None}
    table = pa.table({"text": ["aaaa", None, "bb"] * 4, "image": [picture] * 12})
    path = write(tmp_path, table, kind, 5)
    whole = path.read_bytes()
    # What Arrow's libraries make of damage is not up to chance here: they may end the process.
    chance = random.Random(0)
    rejects = 0
    for _ in range(60):
        content = bytearray(whole)
        for _ in range(3):
            content[chance.randrange(len(content))] = chance.choice([0, 1, 127, 128, 255])
        path.write_bytes(content)
        rejects += sum(isinstance(one, Reject) for one in read(path, 4))
    assert rejects > 60


def test_numbers_of_rows_that_cannot_be_are_damage() -> None:
    def facts(total: int, *rows: int) -> Any:
        groups = [SimpleNamespace(num_rows=count) for count in rows]
        return SimpleNamespace(
            num_rows=total, num_row_groups=len(rows), row_group=groups.__getitem__
        )

    _check(facts(5, 2, 3), 1000)
    _check(facts(0), 1000)
    for wrong in (facts(5, 2, 2), facts(5, 6, -1), facts(1 << 60, 1 << 60)):
        with pytest.raises(InvalidInput, match="numbers of rows"):
            _check(wrong, 1000)


def test_large_row_groups_are_cut_into_few_pieces_and_small_ones_as_asked(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    cells = [rng.bytes(1 << 17) for _ in range(100)]
    path = write(tmp_path, pa.table({"image": cells}), "parquet", 100)
    pieces = slices_of(source_of(path), 1)
    assert [piece.items for piece in pieces] == [7] * 14 + [2]
    small = write(tmp_path, pa.table({"text": ["a"] * 100}), "parquet", 100, name="small")
    assert len(slices_of(source_of(small), 1)) == 100


def test_rows_over_the_limit_are_rejects(tmp_path: Path) -> None:
    table = pa.table({"text": ["a" * 5, "b" * 6], "image": [b"", b"123"]})
    found = [told(one) for one in read(write(tmp_path, table, "parquet"), max_bytes=8)]
    assert found[1] == "LimitExceeded: 9 bytes are over the limit of 8"
    table = table.append_column("series", pa.array([[1.0], [2.0]]))
    found = [told(one) for one in read(write(tmp_path, table, "parquet"), max_bytes=8)]
    assert "LimitExceeded" in found[1]


def test_no_file_of_the_kind_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="no files of this kind"):
        list(source_of(tmp_path, kind="parquet").slices(1, 1))
    with pytest.raises(InvalidInput, match="no kind of source 'csv'"):
        source_of(tmp_path, kind="csv")
