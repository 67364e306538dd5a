"""What is kept of operations, when a server is killed anywhere, and what lists are narrowed by."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from google.rpc import code_pb2, status_pb2
from hypothesis import given
from hypothesis import strategies as st

from omnicodec.codecs import InvalidInput, LimitExceeded, Unavailable
from omnicodec.service.server.operations.filters import page_after, page_token, parse_filter
from omnicodec.service.server.operations.store import MAX_FRUITLESS, State, Store, Stored

Open = Callable[..., Store]


@pytest.fixture
def reopen(tmp_path: Path) -> Iterator[Open]:
    """Return a function that gives the store as the next server finds it."""
    stores: list[Store] = []

    def begin(**options: float) -> Store:
        if stores:
            stores.pop().close()
        given = {"keep_seconds": 1000.0, "most": 10, "most_bytes": 1000, **options}
        stores.append(Store(tmp_path, **given))  # type: ignore[arg-type]
        return stores[-1]

    yield begin
    stores.pop().close()


def add(store: Store, request: bytes = b"request", request_id: str = "") -> Stored:
    return store.add(request, request_id=request_id, digest=request, codec="image/inr")


def begun(store: Store) -> str:
    """Return the id of a new operation in work."""
    name = add(store).id
    claimed = store.claim()
    assert claimed is not None
    assert claimed.id == name
    return name


def test_the_oldest_is_claimed_first(reopen: Open) -> None:
    store = reopen()
    names = [add(store).id for _ in range(3)]
    claimed = [store.claim() for _ in range(4)]
    assert [stored and stored.id for stored in claimed] == [*names, None]
    assert [stored.id for stored in store.select("1", [], limit=9)] == names[::-1]


def test_killed_before_it_began(reopen: Open) -> None:
    name = add(reopen(), request_id="key").id
    store = reopen()
    assert store.get(name).state is State.QUEUED
    assert store.files.request(name) == b"request"
    assert add(store, request_id="key").id == name


def test_killed_in_the_middle(reopen: Open) -> None:
    store = reopen()
    name = begun(store)
    store.files.checkpoint(name).write_bytes(b"checkpoint")
    store.report(name, b"\x09" + bytes(8), 0.5)
    store = reopen()
    found = store.get(name)
    assert (found.state, found.progress) == (State.QUEUED, b"\x09" + bytes(8))
    assert store.files.checkpoint(name).read_bytes() == b"checkpoint"


def test_killed_between_the_result_and_its_row(reopen: Open, tmp_path: Path) -> None:
    store = reopen()
    name = begun(store)
    (tmp_path / "items" / name / "response.pb").write_bytes(b"response")
    store = reopen()
    assert store.get(name).state is State.SUCCEEDED
    assert store.files.response(name) == b"response"
    assert store.claim() is None


def test_killed_after_the_end(reopen: Open, tmp_path: Path) -> None:
    store = reopen()
    name = begun(store)
    store.succeed(name, b"response")
    left = tmp_path / "items" / name / "checkpoint.safetensors"
    left.write_bytes(b"left over")
    store = reopen()
    assert store.get(name).state is State.SUCCEEDED
    assert store.files.response(name) == b"response"
    assert not left.exists()


def test_killed_after_it_was_cancelled(reopen: Open) -> None:
    store = reopen()
    name = begun(store)
    store.cancel(name)
    assert store.get(name).state is State.RUNNING
    found = reopen().get(name)
    assert found.state is State.CANCELLED
    assert status_pb2.Status.FromString(found.error).code == code_pb2.CANCELLED


def test_files_without_a_row_are_removed(reopen: Open, tmp_path: Path) -> None:
    kept = add(reopen()).id
    orphan = tmp_path / "items" / ("0" * 32)
    orphan.mkdir()
    (orphan / "request.pb").write_bytes(b"never answered")
    mine = tmp_path / "notes.txt"
    mine.write_text("not of ours")
    reopen()
    assert [path.name for path in (tmp_path / "items").iterdir()] == [kept]
    assert mine.exists()


def test_work_that_ends_every_server_fails(reopen: Open) -> None:
    name = begun(reopen())
    for _ in range(MAX_FRUITLESS - 1):
        store = reopen()
        assert store.get(name).state is State.QUEUED
        assert store.claim() is not None
    found = reopen().get(name)
    assert found.state is State.FAILED
    assert "the server ended 5 times" in status_pb2.Status.FromString(found.error).message


def test_work_that_gets_further_may_be_killed_often(reopen: Open) -> None:
    store = reopen()
    name = begun(store)
    for i in range(1, 4 * MAX_FRUITLESS):
        store.report(name, b"", i / 100)
        store = reopen()
        assert store.claim() is not None
    for _ in range(2 * MAX_FRUITLESS):  # servers that were stopped in good order
        store.put_back(name)
        store = reopen()
        assert store.claim() is not None


def test_room_is_given_back(reopen: Open) -> None:
    store = reopen(most=2)
    first = begun(store)
    with pytest.raises(LimitExceeded, match="1,000 bytes"):
        add(store, bytes(999))
    store.succeed(first, b"")
    second = add(store, bytes(999)).id
    with pytest.raises(LimitExceeded, match="2 jobs"):
        add(store, b"")
    store.delete(first)
    add(store, b"")
    store.cancel(second)
    assert store.get(second).state is State.CANCELLED
    store.delete(second)
    add(store, bytes(999))


def test_expiry(reopen: Open) -> None:
    store = reopen(keep_seconds=0.0)
    ended, waits = begun(store), add(store).id
    store.succeed(ended, b"response")
    store.expire()
    assert [stored.id for stored in store.select("1", [], limit=9)] == [waits]


def test_another_process_is_refused(reopen: Open, tmp_path: Path) -> None:
    reopen()
    code = f"""if True:
        from pathlib import Path
        from omnicodec.service.server.operations.store import Store
        Store(Path({str(tmp_path)!r}), keep_seconds=1, most=1, most_bytes=1)
    """
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "Unavailable: another server has the folder" in done.stderr


def test_folders_that_cannot_be(tmp_path: Path) -> None:
    options = {"keep_seconds": 1.0, "most": 1, "most_bytes": 1}
    (tmp_path / "file").write_text("")
    with pytest.raises(Unavailable, match="cannot be used"):
        Store(tmp_path / "file", **options)  # type: ignore[arg-type]
    (tmp_path / "damaged").mkdir()
    (tmp_path / "damaged" / "operations.sqlite3").write_bytes(b"no database" * 1000)
    with pytest.raises(Unavailable, match="is damaged"):
        Store(tmp_path / "damaged", **options)  # type: ignore[arg-type]
    (tmp_path / "newer").mkdir()
    with sqlite3.connect(tmp_path / "newer" / "operations.sqlite3") as db:
        db.execute("PRAGMA user_version = 99")
    db.close()
    with pytest.raises(Unavailable, match="another version"):
        Store(tmp_path / "newer", **options)  # type: ignore[arg-type]


def test_filters() -> None:
    assert parse_filter(" ") == ("1", [])
    assert parse_filter("metadata.state!=QUEUED") == ("NOT (state = ?)", ["QUEUED"])
    where, values = parse_filter('done = false AND metadata.codec = "a AND b"')
    assert (where, values) == ("ended IS NULL AND codec = ?", ["a AND b"])


words = st.sampled_from(
    ["done", "name", "metadata.state", "=", "!=", "AND", "OR", " ", "true", '"', "QUEUED", "'", ";"]
)


@given(st.lists(words | st.text(max_size=3)).map("".join))
def test_any_filter_is_sql_or_refused(text: str) -> None:
    try:
        where, values = parse_filter(text)
    except InvalidInput:
        return
    with sqlite3.connect(":memory:") as db:
        db.execute("CREATE TABLE t (id, state, codec, ended)")
        db.execute(f"SELECT * FROM t WHERE {where}", values)
    assert "'" not in where
    assert ";" not in where


@given(st.integers(1, 2**63 - 1), st.text(max_size=20))
def test_pages_go_on_with_the_same_filter(number: int, text: str) -> None:
    token = page_token(number, text)
    assert page_after(token, text) == ("number < ?", [number])
    with pytest.raises(InvalidInput):
        page_after(token, text + " ")


@given(st.text(min_size=1, max_size=40))
def test_other_tokens_are_refused(token: str) -> None:
    with pytest.raises(InvalidInput):
        page_after(token, "")


VERSION_1 = """
CREATE TABLE operations (
    number INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, request_id TEXT UNIQUE,
    digest BLOB NOT NULL, codec TEXT NOT NULL, state TEXT NOT NULL,
    cancel INTEGER NOT NULL DEFAULT 0, created REAL NOT NULL, started REAL, ended REAL,
    bytes INTEGER NOT NULL, progress BLOB NOT NULL DEFAULT x'', share REAL NOT NULL DEFAULT 0,
    begun_share REAL NOT NULL DEFAULT 0, begun INTEGER NOT NULL DEFAULT 0,
    error BLOB NOT NULL DEFAULT x''
);
CREATE INDEX operations_state ON operations (state, number);
INSERT INTO operations (number, id, request_id, digest, codec, state, created, bytes, share)
    VALUES (7, 'a', 'mine', x'72', 'image/inr', 'QUEUED', 1.0, 1, 0.5);
INSERT INTO operations (number, id, digest, codec, state, created, ended, bytes, error)
    VALUES (9, 'b', x'72', 'image/inr', 'FAILED', 2.0, 3e12, 1, x'080d');
PRAGMA user_version = 1;
"""


def test_a_folder_of_version_1_has_no_owners(reopen: Open, tmp_path: Path) -> None:
    database = sqlite3.connect(tmp_path / "operations.sqlite3")
    database.executescript(VERSION_1)
    database.close()
    for _ in range(2):
        store = reopen()
        newest, oldest = store.select("1", [], limit=9)
        assert (oldest.number, oldest.id, oldest.owner, oldest.created) == (7, "a", "", 1.0)
        assert (newest.number, newest.state, newest.error) == (9, State.FAILED, b"\x08\x0d")
        assert store.find("mine") == oldest
    assert add(store).number == 10


def test_request_ids_are_their_owners(reopen: Open) -> None:
    store = reopen()
    names = {
        owner: store.add(b"r", request_id="same", digest=b"r", codec="image/inr", owner=owner).id
        for owner in ("", "anna", "bert")
    }
    assert len(set(names.values())) == 3
    for owner, name in names.items():
        found = store.find("same", owner)
        assert found is not None
        assert (found.id, found.owner) == (name, owner)
        again = store.add(b"r", request_id="same", digest=b"r", codec="image/inr", owner=owner)
        assert again.id == name
    assert store.find("same", "chris") is None
