"""The checks that every codec inherits."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from omnicodec.codecs import (
    Audio,
    FingerprintMismatch,
    Image,
    InvalidInput,
    Text,
    Tokens,
    compress,
    decompress,
    load,
)
from omnicodec.codecs.codec import listed

CODEC = load("text/bytes")
(TOKENS,) = CODEC.encode([Text(b"hello")])


def changed(**fields: object) -> Tokens:
    own = {name: getattr(TOKENS, name) for name in Tokens.__dataclass_fields__}
    return Tokens(**{**own, **fields})


def test_batches_split_and_merge_freely() -> None:
    items = [Text(bytes([i]) * i) for i in range(5)]
    whole = CODEC.encode(items)
    assert whole == CODEC.encode(items[:2]) + CODEC.encode(items[2:])
    assert CODEC.decode(whole) == items
    assert CODEC.encode([]) == []
    assert CODEC.decode([]) == []


def test_bits_of_tokens() -> None:
    assert CODEC.token_bits(TOKENS) == 5 * 8
    codec = load("audio/rvq")
    sound = Audio(np.full((1, 2400), 0.1, np.float32), 24000)
    sizes = {}
    for quality in codec.spec.qualities:
        (tokens,) = codec.encode([sound], quality=quality)
        used = int(tokens.ids.any(1).sum())
        sizes[quality] = codec.token_bits(tokens)
        assert sizes[quality] == len(tokens) * used * np.log2(codec.spec.codebook_sizes[0])
    assert sorted(sizes.values()) == [sizes[quality] for quality in sorted(sizes)]


def test_codecs_without_weights_of_ones_own(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"")
    (tmp_path / "config.json").write_text('{"codec": "text/bytes"}')
    with pytest.raises(InvalidInput, match="not opened from a folder"):
        load(tmp_path)


def test_other_media_are_refused() -> None:
    with pytest.raises(InvalidInput, match="encodes Text, not Image"):
        CODEC.encode([Image(np.zeros((1, 1, 3), np.uint8))])


@pytest.mark.parametrize(
    ("fields", "error", "message"),
    [
        ({"codec": "image/vq"}, InvalidInput, "tokens of image/vq were given to text/bytes"),
        ({"fingerprint": "0" * 16}, FingerprintMismatch, "made by text/bytes 0000"),
        ({"ids": np.zeros((2, 5), np.int32)}, InvalidInput, "1 codebooks, not 2"),
        ({"ids": np.array([[1, 2, 256, 3, 999]])}, InvalidInput, "token 256 at position 2"),
        ({"grid": (1, 5)}, InvalidInput, "rank 1, not 2"),
        ({"extent": {"height": 1}}, InvalidInput, "extent"),
    ],
)
def test_tokens_that_do_not_fit_are_refused(fields, error, message) -> None:
    with pytest.raises(error, match=message):
        CODEC.decode([changed(**fields)])


def test_masks_are_checked() -> None:
    for mask in (np.zeros(4, np.bool_), np.zeros((1, 5), np.bool_), np.zeros(5, np.int32)):
        with pytest.raises(InvalidInput, match="mask"):
            CODEC.decode([TOKENS], missing=[mask])
    with pytest.raises(InvalidInput, match="2 masks"):
        CODEC.decode([TOKENS], missing=[None, None])
    mask = np.array([False, True, False, False, True])
    assert CODEC.decode([TOKENS], missing=[mask]) == [Text(b"hll")]


def test_settings_that_a_codec_does_not_have_are_refused() -> None:
    with pytest.raises(InvalidInput, match="no quality 50; known: none"):
        CODEC.encode([Text(b"")], quality=50)
    with pytest.raises(InvalidInput, match="no effort best"):
        CODEC.encode([Text(b"")], effort="best")
    with pytest.raises(InvalidInput, match="no method upper; known: none"):
        CODEC.encode([Text(b"")], method="upper")


def test_a_method_changes_tokens_and_not_their_decoding(cased: str) -> None:
    codec = load(cased)
    plain = codec.encode([Text(b"words")])
    assert plain == codec.encode([Text(b"words")], method="keep")
    upper = codec.encode([Text(b"words")], method="upper")
    assert codec.decode(plain + upper) == [Text(b"words"), Text(b"WORDS")]
    assert decompress(compress(Text(b"words"), cased, method="upper")) == Text(b"WORDS")
    with pytest.raises(InvalidInput, match="no method lower; known: keep, upper"):
        codec.encode([], method="lower")


def test_settings_are_listed_as_people_read_them() -> None:
    assert listed(()) == ""
    assert listed((2, 4, 6)) == "2, 4, 6"
    assert listed((1, 2, 3)) == "1, 2, 3"
    assert listed(tuple(range(101))) == "0 to 100"
    assert listed(("fast", "best")) == "fast, best"
