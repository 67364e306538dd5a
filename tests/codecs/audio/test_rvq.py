"""`audio/rvq`: any rate, length and channels; streams that equal the whole; a golden stream."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omnicodec.codecs import (
    Audio,
    CorruptStream,
    InvalidInput,
    LimitExceeded,
    Tokens,
    compress,
    decompress,
    load,
)
from omnicodec.codecs.audio.rvq import BOOKS
from omnicodec.codecs.stream import read_tokens

CODEC = load("audio/rvq", device="cpu")
GOLDEN = Path(__file__).parents[2] / "golden"


def sound(length: int, rate: int = 24_000, channels: int = 1, seed: int = 0) -> Audio:
    """Return voiced syllables of a kind: harmonics that come and go, and some breath."""
    rng = np.random.default_rng(seed)
    time = np.arange(length) / rate
    rows = []
    for _ in range(channels):
        pitch = rng.uniform(90, 200)
        voice = sum(np.sin(2 * np.pi * k * pitch * time) / k for k in range(1, 12))
        swell = np.square(np.sin(2 * np.pi * rng.uniform(1.5, 3) * time))
        rows.append(0.1 * voice * swell + 0.003 * rng.standard_normal(length))
    return Audio(np.stack(rows).astype(np.float32), rate)


def error(a: Audio, b: Audio) -> float:
    """Return the energy of the difference, as a part of that of `a`."""
    return float(np.square(a.samples - b.samples).sum() / np.square(a.samples).sum())


@pytest.mark.parametrize(
    ("length", "rate", "channels"),
    [(0, 8000, 1), (0, 48_000, 2), (1, 44_100, 2), (24_000, 24_000, 1), (20_011, 44_100, 2),
     (3000, 11_127, 8), (9000, 192_000, 1), (7, 1, 1), (50, (1 << 31) - 1, 1)],
)  # fmt: skip
def test_any_rate_length_and_channels_come_back(length: int, rate: int, channels: int) -> None:
    clip = sound(length, rate, channels)
    (tokens,) = CODEC.encode([clip])
    assert dict(tokens.extent) == {"samples": length, "rate": rate, "channels": channels}
    assert tokens.grid[1] == channels
    assert tokens.ids.shape == (16, tokens.grid[0] * channels)
    (back,) = CODEC.decode([tokens])
    assert back.samples.shape == clip.samples.shape
    assert back.sample_rate == rate
    assert decompress(compress(clip, "audio/rvq")) == back


def test_higher_qualities_are_closer_and_nested() -> None:
    clip = sound(48_000)
    coded = {q: CODEC.encode([clip], quality=q)[0] for q in CODEC.spec.qualities}
    finest = coded[8].ids
    for quality, tokens in coded.items():
        books = BOOKS[quality]
        assert np.array_equal(tokens.ids[:books], finest[:books])
        assert not tokens.ids[books:].any()
    assert CODEC.encode([clip])[0] == coded[6]
    off = [error(clip, CODEC.decode([tokens])[0]) for tokens in coded.values()]
    assert off[0] > off[2] > off[4]
    assert off[4] < 0.8, "not the same waveform"
    sizes = [len(compress(clip, "audio/rvq", quality=q)) for q in CODEC.spec.qualities]
    assert sizes == sorted(sizes)
    assert sizes[3] * 8 / 2 < 6000 + 500


@settings(max_examples=12)
@given(
    st.sampled_from([(24_000, 1), (44_100, 2), (8000, 1)]),
    st.lists(st.integers(0, 16_000), max_size=10).map(sorted),
    st.sampled_from([None, *BOOKS]),
)
def test_streams_equal_the_whole(
    kind: tuple[int, int], cuts: list[int], quality: int | None
) -> None:
    rate, channels = kind
    clip = sound(16_000, rate, channels)
    (tokens,) = CODEC.encode([clip], quality=quality)
    (whole,) = CODEC.decode([tokens])
    encoder, decoder = CODEC.open_encoder(quality=quality), CODEC.open_decoder()
    edges = pairwise([0, *cuts, 16_000])
    pieces = [encoder.push(Audio(clip.samples[:, a:b], rate)) for a, b in edges]
    pieces.append(encoder.finish())
    assert np.array_equal(np.concatenate([p.ids for p in pieces], 1), tokens.ids)
    assert sum(p.extent["samples"] for p in pieces) == 16_000
    heard = [decoder.push(piece).samples for piece in pieces]
    heard.append(decoder.finish().samples)
    assert np.array_equal(np.concatenate(heard, 1), whole.samples)


@pytest.mark.parametrize("rate", [8000, 24_000, 44_100, 48_000])
def test_the_first_token_comes_within_80_ms(rate: int) -> None:
    clip = sound(rate // 5, rate)
    encoder = CODEC.open_encoder()
    step = rate // 1000
    for start in range(0, rate // 5, step):
        if len(encoder.push(Audio(clip.samples[:, start : start + step], rate))):
            assert start + step <= 0.08 * rate
            return
    raise AssertionError("no token at all")


def test_streams_say_what_is_wrong() -> None:
    clip = sound(4800)
    encoder = CODEC.open_encoder()
    first = encoder.push(clip)
    with pytest.raises(InvalidInput, match="cannot go on"):
        encoder.push(sound(100, 48_000))
    with pytest.raises(InvalidInput, match="cannot go on"):
        encoder.push(sound(100, 24_000, 2))
    last = encoder.finish()
    for call in (encoder.finish, lambda: encoder.push(clip)):
        with pytest.raises(InvalidInput, match="was finished"):
            call()
    decoder = CODEC.open_decoder()
    decoder.push(first)
    with pytest.raises(InvalidInput, match="frames, where"):
        decoder.finish()
    for ids, grid, extent in (
        (last.ids + 5000, last.grid, last.extent),
        (last.ids[:3], last.grid, last.extent),
        (last.ids, last.grid, {**last.extent, "channels": 2}),
        (last.ids, last.grid, {**last.extent, "rate": 0}),
        (last.ids, last.grid, {**last.extent, "samples": -1}),
        (last.ids, last.grid, {"samples": 0}),
    ):
        with pytest.raises(InvalidInput):
            decoder.push(Tokens(last.codec, last.fingerprint, ids, grid, extent))
    with pytest.raises(InvalidInput, match="not made by"):
        decoder.push(Tokens(last.codec, "0" * 16, last.ids, last.grid, last.extent))
    decoder.push(last)
    decoder.finish()
    with pytest.raises(InvalidInput, match="was finished"):
        decoder.push(first)
    with pytest.raises(InvalidInput, match="no quality 5"):
        CODEC.open_encoder(quality=5)
    empty = CODEC.open_encoder().finish()
    assert empty.grid == (0, 1)


def test_a_clip_never_depends_on_its_neighbours() -> None:
    clips = [sound(5000, seed=1), sound(7000, 16_000, 2, seed=2), sound(0), sound(5000, seed=3)]
    alone = [CODEC.encode([clip])[0] for clip in clips]
    assert CODEC.encode(clips) == alone
    assert CODEC.decode(alone) == [CODEC.decode([tokens])[0] for tokens in alone]


def test_equal_channels_stay_equal() -> None:
    one = sound(9600)
    two = Audio(np.repeat(one.samples, 2, 0), one.sample_rate)
    (back,) = CODEC.decode(CODEC.encode([two]))
    assert np.array_equal(back.samples[0], back.samples[1])
    assert np.array_equal(back.samples[0], CODEC.decode(CODEC.encode([one]))[0].samples[0])


def test_silence_stays_silent() -> None:
    (back,) = CODEC.decode(CODEC.encode([Audio(np.zeros((1, 24_000), np.float32), 24_000)]))
    assert np.abs(back.samples).max() < 0.02


def test_lost_tokens_do_not_stop_a_clip() -> None:
    clip = sound(72_000)
    (tokens,) = CODEC.encode([clip])
    missing = np.zeros(len(tokens), np.bool_)
    missing[60:80] = True
    (back,) = CODEC.decode([tokens], missing=[missing])
    (whole,) = CODEC.decode([tokens])
    assert np.array_equal(back.samples[:, : 58 * 480], whole.samples[:, : 58 * 480])
    gap = slice(70 * 480, 78 * 480)
    assert np.abs(back.samples[:, gap]).mean() < 0.5 * np.abs(whole.samples[:, gap]).mean() + 0.01


def test_tokens_that_lie_about_their_extent() -> None:
    (tokens,) = CODEC.encode([sound(4800)])
    for change, error in (
        ({"samples": 4801}, InvalidInput),
        ({"samples": -1}, InvalidInput),
        ({"rate": 0}, InvalidInput),
        ({"channels": 0}, InvalidInput),
        ({"channels": 65}, InvalidInput),
        ({"samples": 1 << 40}, LimitExceeded),
    ):
        extent = {**tokens.extent, **change}
        with pytest.raises(error):
            CODEC.decode(
                [Tokens(tokens.codec, tokens.fingerprint, tokens.ids, tokens.grid, extent)]
            )
    with pytest.raises(InvalidInput, match="1 to 64 channels"):
        CODEC.encode([Audio(np.zeros((65, 10), np.float32), 8000)])


def test_damage_leaves_the_rest_of_a_long_clip() -> None:
    clip = sound(24_000 * 25)
    stream = bytearray(compress(clip, "audio/rvq", quality=1))
    stream[-10] ^= 1
    with pytest.raises(CorruptStream):
        read_tokens(bytes(stream))
    contents = read_tokens(bytes(stream), partial=True)
    assert contents.missing is not None
    assert np.flatnonzero(contents.missing).tolist() == list(range(1024, 1251))
    (back,) = CODEC.decode([contents.tokens], missing=[contents.missing])
    (whole,) = CODEC.decode(CODEC.encode([clip], quality=1))
    intact = slice(0, 1022 * 480)
    assert np.array_equal(back.samples[:, intact], whole.samples[:, intact])


def test_golden_stream_opens() -> None:
    """Made by scripts/make_golden.py when the weights were last replaced."""
    version = CODEC.spec.version
    contents = read_tokens((GOLDEN / f"audio-rvq-{version}.omc").read_bytes())
    assert contents.missing is None
    assert contents.tokens == Tokens.load(GOLDEN / f"audio-rvq-{version}.npz")
