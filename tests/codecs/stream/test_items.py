"""Many items and chunks on threads: the same streams, the same errors."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from omnicodec.codecs import (
    CorruptStream,
    InvalidInput,
    Media,
    Text,
    UnknownCodec,
    compress,
    compress_many,
    decompress,
    decompress_many,
    load,
)
from omnicodec.codecs.stream import read_tokens, write_tokens

TEXTS = [Text(bytes([65 + i]) * n) for i, n in enumerate([10, 0, 99, 250, 1, 600, 100, 101, 3, 7])]


def test_chunks_of_one_stream_are_side_by_side(crew: Any) -> None:
    crew.at_once = 2
    codec = load(crew.name)
    (tokens,) = codec.encode([Text(bytes(range(200)) * 2)])
    stream = write_tokens(tokens, codec, threads=2)
    assert crew.most == 2
    for partial in (False, True):
        crew.most = 0
        assert read_tokens(stream, partial=partial, threads=2).tokens == tokens
        assert crew.most == 2
    assert "MainThread" not in crew.threads


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_streams_do_not_depend_on_threads(crew: Any, threads: int) -> None:
    expected = [compress(text, crew.name) for text in TEXTS]
    assert list(compress_many(TEXTS, crew.name, threads=threads)) == expected
    assert list(decompress_many(expected, threads=threads)) == TEXTS


def test_a_short_item_needs_no_thread(crew: Any) -> None:
    decompress(compress(Text(b"a" * 100), crew.name))
    assert crew.threads == {"MainThread"}


def test_short_items_are_side_by_side(crew: Any) -> None:
    crew.at_once = 2
    texts = TEXTS[6:7] * 10
    streams = list(compress_many(texts, crew.name, threads=2))
    assert crew.most == 2
    crew.most = 0
    assert list(decompress_many(streams, threads=2)) == texts
    assert crew.most == 2
    assert "MainThread" not in crew.threads


def test_large_items_come_one_at_a_time(crew: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("omnicodec.codecs.threads.ROOM", 99)
    crew.at_once = 2
    texts = [Text(b"a" * 100)] * 3
    streams = list(compress_many(texts, crew.name, threads=2))
    assert list(decompress_many(streams, threads=2)) == texts
    assert crew.most == 1
    texts = [Text(b"a" * 200)] * 3  # of two chunks, which are side by side
    streams = list(compress_many(texts, crew.name, threads=2))
    assert crew.most == 2
    crew.most = 0
    assert list(decompress_many(streams, threads=2)) == texts
    assert crew.most == 2


def test_a_prior_that_is_not_worth_threads_gets_none(monkeypatch: pytest.MonkeyPatch) -> None:
    def submit(*_: object) -> None:
        raise AssertionError("a thread was asked for")

    codec = load("text/bytes")
    monkeypatch.setattr(type(codec.prior), "parallel", False)
    monkeypatch.setattr("omnicodec.codecs.threads.ThreadPoolExecutor.submit", submit)
    streams = list(compress_many(TEXTS, "text/bytes", threads=4))
    assert list(decompress_many(streams, threads=4)) == TEXTS
    (tokens,) = codec.encode([Text(b"abc" * 99)])
    read_tokens(write_tokens(tokens, codec, chunk_positions=10, threads=4), threads=4)


@pytest.mark.parametrize("threads", [1, 2])
def test_an_error_comes_in_place_of_its_result(crew: Any, threads: int) -> None:
    crew.broken = {70: InvalidInput("F"), 71: InvalidInput("G")}
    streams = compress_many(TEXTS, crew.name, threads=threads)
    assert [next(streams) for _ in range(5)] == [compress(t, crew.name) for t in TEXTS[:5]]
    with pytest.raises(InvalidInput, match="^F$"):
        next(streams)
    crew.broken = {}
    good = [compress(text, crew.name) for text in TEXTS]
    items = decompress_many([*good[:3], good[3][:-1], good[4]], threads=threads)
    assert [next(items) for _ in range(3)] == TEXTS[:3]
    with pytest.raises(CorruptStream, match="cut off"):
        next(items)


@pytest.mark.parametrize("threads", [1, 2])
def test_chunks_that_do_not_decode_are_missing(crew: Any, threads: int) -> None:
    pieces = [bytes([i]) * 100 for i in range(6)]
    stream = compress(Text(b"".join(pieces)), crew.name)
    crew.broken = {1: CorruptStream("1"), 4: CorruptStream("4")}
    with pytest.raises(CorruptStream, match="^1$"):
        read_tokens(stream, threads=threads)
    contents = read_tokens(stream, partial=True, threads=threads)
    assert contents.missing is not None
    assert contents.missing.reshape(6, 100).all(1).tolist() == [0, 1, 0, 0, 1, 0]
    assert decompress(stream, partial=True) == Text(b"".join(pieces[i] for i in (0, 2, 3, 5)))


def test_items_are_taken_as_streams_are(crew: Any) -> None:
    taken: list[int] = []

    def items() -> Iterator[Media]:
        for i in range(10_000):
            taken.append(i)
            yield Text(b"x")

    streams = compress_many(items(), crew.name, threads=2)
    next(streams)
    assert len(taken) < 20


def test_streams_of_several_codecs(crew: Any) -> None:
    names = [crew.name, "text/bytes"] * 5
    streams = [compress(text, name) for text, name in zip(TEXTS, names, strict=True)]
    assert list(decompress_many(streams, threads=2)) == TEXTS


def test_wrong_settings_are_refused_at_once() -> None:
    with pytest.raises(UnknownCodec):
        compress_many(TEXTS, "text/none")
    with pytest.raises(InvalidInput, match="no method x"):
        compress_many(TEXTS, "text/bytes", method="x")
