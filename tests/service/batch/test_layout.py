from __future__ import annotations

import json

import numpy as np
import pytest

from omnicodec.codecs import InvalidInput, UnknownCodec
from omnicodec.service.batch.job import CodecChoice, Job
from omnicodec.service.batch.layout import Layout
from omnicodec.service.batch.sinks.base import DocumentRow, RawRow
from omnicodec.service.batch.sources.base import SourceSpec

from .rows import FLAT, PARALLEL, layout_of, picture, rows_of, sound, text


def test_raw_rows_are_as_their_codecs_made_them() -> None:
    layout = layout_of(FLAT, "raw")
    parts = (picture(2, 3), text(4))
    (row,) = layout.rows("key", "source", parts)
    assert isinstance(row, RawRow)
    assert (row.key, row.source, row.parts) == ("key", "source", parts)
    assert (layout.row_count, layout.token_count, layout.figures) == (1, 10, {})
    assert list(layout.flush()) == []


@pytest.mark.parametrize("vocabulary", [FLAT, PARALLEL], ids=["flat", "parallel"])
def test_documents_are_what_the_vocabulary_packs(vocabulary) -> None:  # type: ignore[no-untyped-def]
    parts = (text(4), sound(3) if vocabulary is PARALLEL else picture(1, 2))
    layout = Layout(vocabulary, "document", bos=True, eos=False)
    (row,) = layout.rows("key", "source", parts)
    assert isinstance(row, DocumentRow)
    wanted = vocabulary.pack(parts, bos=True, eos=False)
    np.testing.assert_array_equal(row.ids, wanted.reshape(vocabulary.rows, -1))
    assert layout.token_count == wanted.size


def test_packed_rows_are_counted() -> None:
    layout = layout_of(FLAT, "packed", length=8)
    rows = rows_of(layout, [(text(5),), (text(1),), ()])
    # With an end each: 6, 2 and 1.
    assert len(rows) == layout.row_count == 2
    assert layout.token_count == layout.figures["tokens"] == 9
    assert layout.figures["padding"] == 7


def test_facts_make_the_layout_again() -> None:
    layout = Layout(FLAT, "packed", length=9, packing="concatenate", bos=True, eos=False)
    facts = json.loads(json.dumps(layout.facts()))
    assert Layout.from_facts(facts, FLAT).facts() == facts
    assert facts["special"]["eos"] == FLAT.special_tokens["<|eos|>"]
    assert (facts["pad"], facts["size"], facts["rows"]) == (FLAT.pad, FLAT.size, 1)
    # What is not packed has neither length nor packing.
    raw = Layout(FLAT, "raw", length=9).facts()
    assert (raw["length"], raw["packing"]) == (0, "")


def test_a_job_has_a_layout() -> None:
    job = Job(
        sources=(SourceSpec(location="x"),),
        codecs=(CodecChoice(modality="text", name="text/bytes", fingerprint=""),),
        vocabulary="",
        format="megatron",
        layout="packed",
        length=7,
        packing="concatenate",
        bos=True,
        eos=False,
    )
    facts = Layout.of(job, FLAT).facts()
    names = ("layout", "length", "packing", "bos", "eos")
    assert [facts[name] for name in names] == ["packed", 7, "concatenate", True, False]


@pytest.mark.parametrize("layout", ["document", "packed"])
def test_tokens_of_another_vocabulary_change_nothing(layout: str) -> None:
    made = layout_of(FLAT, layout)
    with pytest.raises(UnknownCodec):
        made.rows("key", "source", (sound(2),))
    assert rows_of(made, []) == []
    assert (made.row_count, made.token_count) == (0, 0)


def test_names_are_what_utf_8_can_hold() -> None:
    layout = layout_of(FLAT, "document")
    name = b"caf\xe9/\xff.txt".decode("utf-8", "surrogateescape")
    (row,) = layout.rows(name, "é", ())
    assert isinstance(row, DocumentRow)
    assert (row.key, row.source) == ("caf\\udce9/\\udcff.txt", "é")


def test_an_unknown_layout_is_refused() -> None:
    with pytest.raises(InvalidInput, match="unknown layout 'rows'; known: raw, document, packed"):
        Layout(FLAT, "rows")
