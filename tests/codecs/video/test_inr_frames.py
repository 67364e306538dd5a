"""Frames of `video/inr` out of its streams: groups are read alone, networks as a whole."""

from __future__ import annotations

import io

import numpy as np
import pytest

from omnicodec.codecs import CorruptStream, Tokens, Video, Work, decompress_frames, load
from omnicodec.codecs.frame_codec import FrameCodec
from omnicodec.codecs.registry import AnyCodec
from omnicodec.codecs.stream import frames, write_tokens
from omnicodec.codecs.video import _inr_fit, _inr_format

CODEC: AnyCodec = load("video/inr", device="cpu")


def clip(count: int) -> Video:
    """Return noise that moves by a pixel a frame."""
    wide = np.random.default_rng(0).integers(0, 256, (40, 60 + count, 3), np.uint8)
    return Video(np.stack([wide[:, n : n + 60] for n in range(count)]), 25)


@pytest.fixture
def tokens(monkeypatch: pytest.MonkeyPatch) -> Tokens:
    """Return 12 frames in three groups."""
    for module in (_inr_fit, _inr_format):
        monkeypatch.setattr(module, "LONGEST", 5)
    (made,) = CODEC.encode([clip(12)])
    assert made.grid[0] > 2
    return made


def test_groups_that_hold_no_such_frame_are_not_read(tokens: Tokens) -> None:
    stream = write_tokens(tokens, CODEC)
    (whole,) = CODEC.decode([tokens])
    assert isinstance(CODEC, FrameCodec)
    at = frames.read_header(stream)[1]
    ends, chunks = [at], []
    while ends[-1] < len(stream):
        chunk, end = frames.read_chunk(stream, ends[-1])
        chunks.append(chunk)
        ends.append(end)
    for start, stop in ((0, 1), (11, 12), (1, 7), (0, 12)):
        needed = CODEC.positions_of(range(start, stop), tokens.grid, tokens.extent)
        groups = {part.start // tokens.grid[1] for part in needed}
        assert len(groups) == len(needed)
        broken = bytearray(stream)
        for chunk, begin, end in zip(chunks, ends, ends[1:], strict=False):
            if chunk.index not in groups:
                broken[begin + 8 : end] = bytes(end - begin - 8)
        part = decompress_frames(io.BytesIO(bytes(broken)), start, stop)
        np.testing.assert_array_equal(part.frames, whole.frames[start:stop])
        if len(groups) == 1:
            (group,) = groups
            broken[ends[group + 1] - 5] ^= 1
            with pytest.raises(CorruptStream):
                decompress_frames(bytes(broken), start, stop)
            assert decompress_frames(bytes(broken), start, stop, partial=True).frames.shape[0]


def test_each_frame_needs_one_group(tokens: Tokens) -> None:
    assert isinstance(CODEC, FrameCodec)
    whole = CODEC.positions_of(range(12), tokens.grid, tokens.extent)
    assert [n for part in whole for n in part] == list(range(len(tokens)))
    found = [CODEC.positions_of(range(n, n + 1), tokens.grid, tokens.extent) for n in range(12)]
    assert all(len(parts) == 1 for parts in found)
    starts = [parts[0].start for parts in found]
    assert starts == sorted(starts)
    assert len(set(starts)) == tokens.grid[0]


def test_a_network(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_inr_fit, "HNERV_EPOCHS", {"fast": 1})
    work = Work(enough=lambda _: True)
    (tokens,) = CODEC.encode([clip(3)], method="hnerv", quality=0, work=work)
    (whole,) = CODEC.decode([tokens])
    part = decompress_frames(write_tokens(tokens, CODEC), -2)
    np.testing.assert_array_equal(part.frames, whole.frames[1:])
