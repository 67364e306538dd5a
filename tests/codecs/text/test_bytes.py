"""`text/bytes`: any bytes, and a golden stream that must open for ever."""

from __future__ import annotations

import gzip
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from omnicodec.codecs import Text, compress, decompress, load
from omnicodec.codecs.stream import write_tokens

CODEC = load("text/bytes")
GOLDEN = Path(__file__).parents[2] / "golden"


@given(st.binary() | st.text(st.characters()).map(lambda s: s.encode("utf-8", "surrogatepass")))
def test_any_bytes(data: bytes) -> None:
    (tokens,) = CODEC.encode([Text(data)])
    assert tokens.ids.tolist() == [list(data)]
    assert tokens.grid == (len(data),)
    assert CODEC.decode([tokens]) == [Text(data)]


def test_text_is_smaller_than_its_bytes() -> None:
    text = Text("It is a truth universally acknowledged, that a single man " * 20)
    assert len(compress(text, "text/bytes")) < 0.72 * text.nbytes


def test_golden_stream_opens() -> None:
    """Made by scripts/make_golden.py; a failure means that old streams no longer open."""
    stream = (GOLDEN / "text-bytes-1.omc").read_bytes()
    expected = gzip.decompress((GOLDEN / "text-bytes-1.txt.gz").read_bytes())
    assert decompress(stream) == Text(expected)
    again = write_tokens(CODEC.encode([Text(expected)])[0], CODEC, chunk_positions=50)
    assert again == stream
