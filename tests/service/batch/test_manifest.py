from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from omnicodec.codecs import CorruptStream
from omnicodec.service.batch.job import CodecChoice, Job
from omnicodec.service.batch.manifest import Manifest, Tally, assemble
from omnicodec.service.batch.records import Counts, FileFacts, Record
from omnicodec.service.batch.sources.base import SourceSpec

JOB = Job(
    sources=(SourceSpec(location="/data/a.tar", kind="tar", columns={"json": "text"}),),
    codecs=(CodecChoice(modality="text", name="text/bytes", fingerprint="f"),),
    vocabulary="v",
    format="mds",
    layout="document",
)
numbers = st.integers(0, 1 << 40)
counts = st.builds(Counts, parts=numbers, tokens=numbers, seconds=st.floats(0, 1e6))


@st.composite
def records(draw: st.DrawFn) -> list[Record]:
    found = []
    for shard in range(draw(st.integers(0, 5))):
        written, rejects = draw(numbers), draw(st.integers(0, 3))
        files = [f"{shard}.a", f"{shard}.b"][: draw(st.integers(0, 2))]
        found.append(
            Record(
                shard=shard,
                items=written + rejects,
                written=written,
                rejects=rejects,
                rows=draw(numbers),
                tokens=draw(numbers),
                codecs=draw(st.dictionaries(st.sampled_from(["text/bytes"]), counts)),
                packing=draw(st.dictionaries(st.sampled_from(["cut", "pieces"]), numbers)),
                files={name: FileFacts(draw(numbers), "ab") for name in files},
                reasons={"Crash": rejects} if rejects else {},
            )
        )
    return found


@given(records())
def test_manifest_adds_up_and_is_read_as_it_was_written(found: list[Record]) -> None:
    files = {name: facts for record in found for name, facts in record.files.items()}
    manifest = assemble(JOB, found, plan="p", facts={"layout": "document"}, files=files)
    assert Manifest.from_bytes(manifest.to_bytes()) == manifest
    assert manifest.items == sum(record.items for record in found)
    assert manifest.items == manifest.written + manifest.rejects
    assert manifest.rejects == sum(manifest.reasons.values())
    parts = sum(c.parts for record in found for c in record.codecs.values())
    assert manifest.codecs["text/bytes"]["parts"] == parts
    assert [name for shard in manifest.shards for name in shard["files"]] == sorted(files)
    for record in found:
        assert Record.from_bytes(record.to_bytes()) == record


def test_lost_items_are_found() -> None:
    with pytest.raises(CorruptStream, match="shard 3 had 5 items, of which 3 were written"):
        Tally().add(Record(shard=3, items=5, written=3, rejects=1, rows=3, tokens=0))


def test_what_is_no_manifest_is_refused() -> None:
    manifest = assemble(JOB, [], plan="p", facts={}, files={})
    whole = manifest.to_bytes()
    for data in (
        b"",
        b"[]",
        b"{}",
        whole[:-3],
        whole.replace(b"omnicodec.dataset.v1", b"omnicodec.dataset.v9"),
        whole.replace(b"omnicodec.job.v1", b"omnicodec.job.v9"),
        whole.replace(b'"rows"', b'"lines"'),
        whole.replace(b'"files": {}', b'"files": 3'),
    ):
        with pytest.raises(CorruptStream, match="not the manifest of a data set"):
            Manifest.from_bytes(data)
