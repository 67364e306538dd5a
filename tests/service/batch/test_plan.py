from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from omnicodec.codecs import CorruptStream, InvalidInput
from omnicodec.service.batch import plan as module
from omnicodec.service.batch.job import Job
from omnicodec.service.batch.plan import Plan, shards_of, write_plan
from omnicodec.service.batch.sources.base import Slice, SourceSpec

slices = st.builds(
    Slice,
    st.integers(0, 3),
    st.text(max_size=8),
    st.integers(0, 10),
    st.integers(10, 20),
    st.none() | st.integers(0, 50),
    st.integers(0, 1000),
    st.lists(st.text(max_size=5), max_size=3).map(tuple),
)


def job(**fields: object) -> Job:
    sources = tuple(SourceSpec(location=str(n), kind="tar") for n in range(4))
    common = {"sources": sources, "codecs": (), "vocabulary": "", "format": "parquet"}
    return Job(**{**common, "layout": "raw", **fields})  # type: ignore[arg-type]


@given(st.lists(slices), st.integers(1, 100), st.integers(1, 2000))
def test_shards_keep_the_order_and_the_limits(found: list[Slice], items: int, nbytes: int) -> None:
    shards = list(shards_of(found, items, nbytes))
    assert [piece for shard in shards for piece in shard] == found
    for index, shard in enumerate(shards):
        count = sum(1 if piece.items is None else piece.items for piece in shard)
        size = sum(piece.nbytes for piece in shard)
        assert len(shard) == 1 or (count <= items and size <= nbytes)
        if index:  # and a shard is as full as it can be
            first, before = shard[0], shards[index - 1]
            held = sum(1 if piece.items is None else piece.items for piece in before)
            more = 1 if first.items is None else first.items
            size = sum(piece.nbytes for piece in before) + first.nbytes
            assert held + more > items or size > nbytes


@pytest.fixture
def planned(monkeypatch: pytest.MonkeyPatch) -> list[Slice]:
    """Return the list of the slices that a job has."""
    found: list[Slice] = []
    monkeypatch.setattr(module, "slices_of", lambda *_: iter(found))
    return found


def test_plan_is_read_as_it_was_written(tmp_path: Path, planned: list[Slice]) -> None:
    odd = "caf\udce9\n.jpg"  # no UTF-8, as names of files may be
    planned += [Slice(n % 2, odd, n, n + 5, 5, 100, (odd,)) for n in range(20)]
    path = tmp_path / "plan.jsonl"
    write_plan(job(shard_items=10), path)
    plan = Plan(path)
    assert len(plan) == 10
    assert [piece for shard in range(10) for piece in plan[shard]] == planned
    assert (plan.items, plan.nbytes) == (100, 2000)
    plain = job(sources=(SourceSpec(location="a"),) * 4)
    assert [spec.kind for spec in plan.specs(plain)] == ["tar"] * 4
    assert [total.slices for total in plan.sources] == [10, 10, 0, 0]
    for shard in (-1, 10):
        with pytest.raises(IndexError):
            plan[shard]
    assert not list((tmp_path / ".tmp").iterdir())


def test_number_of_items_may_be_unknown(tmp_path: Path, planned: list[Slice]) -> None:
    planned += [Slice(0, "a.tar", 0, 1, None, 100), Slice(0, "b.jsonl", 0, 7, 7, 10)]
    write_plan(job(), tmp_path / "plan.jsonl")
    plan = Plan(tmp_path / "plan.jsonl")
    assert plan.items is None
    assert (plan.sources[0].items, plan.sources[0].unknown) == (7, 1)


def test_plan_that_fails_is_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, planned: list[Slice]
) -> None:
    with pytest.raises(InvalidInput, match="nothing in these sources"):
        write_plan(job(), tmp_path / "plan.jsonl")
    assert not planned

    def broken(*_: object) -> Iterator[Slice]:
        yield Slice(0, "a", 0, 1, 1, 1)
        raise InvalidInput("the second is not there")

    monkeypatch.setattr(module, "slices_of", broken)
    with pytest.raises(InvalidInput, match="second"):
        write_plan(job(), tmp_path / "plan.jsonl")
    assert [path.name for path in tmp_path.iterdir()] == [".tmp"]
    assert not list((tmp_path / ".tmp").iterdir())


def test_damaged_plans_are_refused(tmp_path: Path, planned: list[Slice]) -> None:
    planned += [Slice(0, "a", n, n + 1, 1, 1) for n in range(4)]
    path = tmp_path / "plan.jsonl"
    with pytest.raises(InvalidInput, match="cannot read"):
        Plan(path)
    write_plan(job(shard_items=1), path)
    whole = path.read_bytes()
    lines = whole.splitlines(keepends=True)
    cut = [whole[:n] for n in range(len(whole))]
    for data in (*cut, b"".join(lines[1:]), b"".join(lines[:1] + lines), b"[]\n", b"\0" * 50):
        path.write_bytes(data)
        with pytest.raises(CorruptStream):
            Plan(path)
    path.write_bytes(lines[1] + lines[0] + b"".join(lines[2:]))
    with pytest.raises(CorruptStream, match="line 1"):
        Plan(path)[0]
    path.write_bytes(json.dumps({"shard": 0, "slices": [[1]]}).encode() + b"\n" + lines[-1])
    with pytest.raises(CorruptStream):
        Plan(path)[0]


def test_only_the_shard_that_is_asked_for_is_parsed(tmp_path: Path, planned: list[Slice]) -> None:
    files = tuple(f"pictures/{n:08d}.jpg" for n in range(20))
    planned += [Slice(0, "", n, n + 20, 20, 100, files) for n in range(0, 200_000, 20)]
    path = tmp_path / "plan.jsonl"
    write_plan(job(shard_items=20), path)
    data = path.read_bytes()
    start = data.index(b'{"shard":5000,')
    path.write_bytes(data[: start + 1] + b"?" + data[start + 2 :])  # nobody sees it
    plan = Plan(path)
    assert len(plan) == 10_000
    assert plan[9_999][0].files == files
    with pytest.raises(CorruptStream):
        plan[5000]
