"""The byte model: no text loses by it, its measures look back only, windows of any integers."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from omnicodec.codecs import CorruptStream, InvalidInput, LimitExceeded
from omnicodec.codecs.prior import Span
from omnicodec.codecs.prior.mixer import INFORMATION_UNIT, ByteModel
from omnicodec.codecs.prior.mixer.format import MAX_MIXED

TextOf = Callable[[int, int], bytes]
BYTES = st.one_of(
    st.binary(max_size=300),
    st.text(max_size=80).map(lambda s: s.encode("utf-8", "surrogatepass")),
    st.tuples(st.binary(min_size=1, max_size=9), st.integers(1, 200)).map(lambda t: t[0] * t[1]),
)


def ids_of(data: bytes) -> NDArray[np.int32]:
    return np.frombuffer(data, np.uint8).astype(np.int32)[None]


def encode(model: ByteModel, data: bytes) -> bytes:
    return model.encode(ids_of(data), Span((len(data),), 0, len(data)))


def decode(model: ByteModel, code: bytes, count: int) -> bytes:
    return model.decode(code, Span((count,), 0, count)).astype(np.uint8).tobytes()


@settings(deadline=None, max_examples=150)
@given(BYTES)
def test_any_bytes_come_back_and_none_lose(text_model: ByteModel, data: bytes) -> None:
    code = encode(text_model, data)
    assert decode(text_model, code, len(data)) == data
    assert len(code) <= len(zstandard.ZstdCompressor(level=19).compress(data)) + 1


def test_both_ways_are_used(text_model: ByteModel, text_of: TextOf) -> None:
    text, noise = text_of(400, 3000), np.random.default_rng(0).bytes(3000)
    packed = len(zstandard.ZstdCompressor(level=19).compress(text))
    assert len(encode(text_model, text)) < 0.75 * packed
    assert len(encode(text_model, noise)) < 3020
    for data in (text, noise):
        assert decode(text_model, encode(text_model, data), len(data)) == data
    assert encode(text_model, b"") == b""
    assert decode(text_model, b"", 0) == b""


def test_long_chunks_are_left_to_zstandard(text_model: ByteModel, text_of: TextOf) -> None:
    """So that the time for a chunk is bounded, for good codes and for bad ones."""
    data = text_of(1, 5000) * 900
    assert len(data) > MAX_MIXED
    code = encode(text_model, data)
    assert code == text_model.encode_large(ids_of(data), Span((len(data),), 0, len(data)))
    assert decode(text_model, code, len(data)) == data
    mixed = encode(text_model, text_of(2, 900))
    with pytest.raises(CorruptStream):
        decode(text_model, mixed, MAX_MIXED + 1)


@settings(deadline=None, max_examples=200)
@given(st.binary(max_size=60), st.integers(0, 300), st.sampled_from([b"", b"\0", b"\1", b"\0\x98"]))
def test_any_bytes_decode_or_are_refused(
    text_model: ByteModel, code: bytes, count: int, head: bytes
) -> None:
    try:
        text = decode(text_model, head + code, count)
    except CorruptStream:
        return
    assert len(text) == count


def test_damaged_codes_are_refused(text_model: ByteModel, text_of: TextOf) -> None:
    text, noise = text_of(5, 800), np.random.default_rng(1).bytes(800)
    for data in (text, noise):
        code = encode(text_model, data)
        for bad in (code[:-6], code[: len(code) // 2], code + b"\1" * 9, b""):
            with pytest.raises(CorruptStream):
                decode(text_model, bad, len(data))
        for count in (0, len(data) // 3, len(data) * 3):
            with pytest.raises(CorruptStream):
                decode(text_model, code, count)


def frame(descriptor: int, *parts: bytes) -> bytes:
    return bytes([descriptor]) + b"".join(parts)


RAW_LAST = (5 << 3 | 1).to_bytes(3, "little") + b"abcde"
RLE_LAST = (1 << 20 << 3 | 3).to_bytes(3, "little") + b"a"


@pytest.mark.parametrize(
    "code",
    [
        frame(0xE0, (1 << 62).to_bytes(8, "little"), RAW_LAST),  # a size that nothing holds
        frame(0xC0, b"\x68", (1 << 40).to_bytes(8, "little"), RAW_LAST),
        frame(0x00, b"\xff", RAW_LAST),  # a window of terabytes
        frame(0x00, b"\x70", RAW_LAST),  # one of 16 MiB, more than level 19 has
        frame(0x03, b"\x68", b"\1\0\0\0", RAW_LAST),  # of a dictionary
        frame(0x00, b"\x68", RLE_LAST),  # more than the chunk
        frame(0x00, b"\x68", RAW_LAST, b"more"),
        frame(0x00, b"\x68", RAW_LAST, frame(0x00, b"\x68", RAW_LAST)),
        frame(0x00, b"\x68"),
        frame(0x00),
    ],
)
def test_hostile_frames(text_model: ByteModel, code: bytes) -> None:
    for count in (5, 6, 10, 1 << 21):
        if code == frame(0x00, b"\x68", RAW_LAST) and count == 5:
            continue
        with pytest.raises(CorruptStream):
            decode(text_model, code, count)


def test_the_frame_of_the_hostile_ones_is_good_without_its_fault(text_model: ByteModel) -> None:
    assert decode(text_model, frame(0x00, b"\x68", RAW_LAST), 5) == b"abcde"


@settings(deadline=None, max_examples=30)
@given(BYTES, BYTES, BYTES)
def test_measures_look_back_only(
    text_model: ByteModel, before: bytes, one: bytes, other: bytes
) -> None:
    n = len(before)
    first, second = text_model.surprisal(before + one), text_model.surprisal(before + other)
    assert first.dtype == np.int32
    assert first.shape == (n + len(one),)
    assert np.array_equal(first[:n], second[:n])
    ahead, ahead_too = text_model.nibble_entropy(before + one), text_model.nibble_entropy(before)
    assert np.array_equal(ahead[:n], ahead_too)
    if one and other:
        # The entropy is that of a byte which is not known.
        assert ahead[n] == text_model.nibble_entropy(before + other)[n]


def test_measures_are_information(text_model: ByteModel, text_of: TextOf) -> None:
    text = text_of(7, 2000)
    surprisal, entropy = text_model.surprisal(text), text_model.nibble_entropy(text)
    assert surprisal.min() >= 0
    assert entropy.min() >= 0
    assert entropy.max() <= 4 * INFORMATION_UNIT
    assert surprisal.mean() < 3 * INFORMATION_UNIT
    assert entropy.mean() < surprisal.mean()
    # It takes seven digits of any number, and the words do not end with the sentence.
    assert text_model.surprisal(b"").shape == text_model.nibble_entropy(b"").shape == (0,)


@settings(deadline=None, max_examples=100)
@given(BYTES)
def test_windows_come_back(text_model: ByteModel, data: bytes) -> None:
    windows = text_model.to_windows(data)
    assert windows.dtype == np.int32
    assert windows.min(initial=0) >= 0
    assert windows.max(initial=0) < 1 << 16
    assert (windows.size == 0) == (data == b"")
    assert text_model.from_windows(windows, len(data)) == data


@settings(deadline=None, max_examples=100)
@given(st.lists(st.integers(0, 2**16 - 1), max_size=30))
def test_any_windows_are_some_text(text_model: ByteModel, windows: list[int]) -> None:
    ids = np.array(windows, np.int32)
    text = text_model.from_windows(ids, 1 << 24)
    if len(windows) < 2:
        assert text == b""
    # The windows of a beginning are the beginning of the text: all but what the last cuts.
    whole = text_model.from_windows(np.append(ids, np.int32(2**16 - 1)), 1 << 24)
    assert whole.startswith(text_model.from_windows(np.append(ids[:-1], np.int32(0)), 1 << 24))


def test_windows_hold_equal_information(text_model: ByteModel, text_of: TextOf) -> None:
    text = text_of(8, 4000)
    windows = text_model.to_windows(text)
    bits = text_model.surprisal(text).sum() / INFORMATION_UNIT
    assert 12 < bits / (len(windows) - 1) <= 16
    # At the worst possible predictions a window still has two bits.
    assert len(text_model.to_windows(np.random.default_rng(5).bytes(2000))) < 4 * 2000


def test_the_last_token_counts_the_bytes_of_the_last_window(text_model: ByteModel) -> None:
    windows = text_model.to_windows(b"ka")
    longest = text_model.from_windows(np.append(windows[:-1], np.int32(2**16 - 1)), 1 << 20)
    assert longest.startswith(b"ka")
    lengths = []
    for count in range(windows[-1] + 1):
        ids = np.append(windows[:-1], np.int32(count))
        lengths.append(len(text_model.from_windows(ids, 1 << 20)))
    assert lengths == list(range(2 - windows[-1], 3))


def test_windows_stop_at_a_limit(text_model: ByteModel, text_of: TextOf) -> None:
    for data in (text_of(9, 700), b"a" * 5000, text_of(10, 1024), text_of(11, 2048)):
        windows = text_model.to_windows(data)
        assert text_model.from_windows(windows, len(data)) == data
        with pytest.raises(LimitExceeded, match=f"more than {len(data) - 1:,} bytes"):
            text_model.from_windows(windows, len(data) - 1)
        with pytest.raises(LimitExceeded):
            text_model.from_windows(windows, 0)
    # Every bit as expected: no token has more bytes. A limit ends it soon.
    rng = np.random.default_rng(6)
    with pytest.raises(LimitExceeded):
        text_model.from_windows(rng.integers(0, 1 << 16, 1 << 16), 10_000)


def test_windows_out_of_range_are_refused(text_model: ByteModel) -> None:
    for wrong in (-1, 1 << 16):
        with pytest.raises(InvalidInput, match="0 to 65535"):
            text_model.from_windows(np.array([5, wrong, 1], np.int32), 100)


def test_windows_may_be_read_only(text_model: ByteModel) -> None:
    windows = text_model.to_windows(b"kalo mi")
    windows.flags.writeable = False
    assert text_model.from_windows(windows, 100) == b"kalo mi"
    ids = ids_of(b"kalo mi")
    ids.flags.writeable = False
    assert decode(text_model, text_model.encode(ids, Span((7,), 0, 7)), 7) == b"kalo mi"


def test_threads_do_not_meet(text_model: ByteModel, text_of: TextOf) -> None:
    texts = [text_of(seed, 300 + 20 * seed) for seed in range(24)]
    texts += [np.random.default_rng(seed).bytes(200) for seed in range(8)]
    alone = [encode(text_model, text) for text in texts]
    windows = [text_model.to_windows(text).tolist() for text in texts]
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(lambda text: encode(text_model, text), texts)) == alone
        back = pool.map(
            lambda p: decode(text_model, p[0], len(p[1])), zip(alone, texts, strict=True)
        )
        assert list(back) == texts
        assert [w.tolist() for w in pool.map(text_model.to_windows, texts)] == windows
