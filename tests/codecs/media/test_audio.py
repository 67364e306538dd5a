"""Audio: WAV and FLAC keep 16-bit samples exactly; damaged and huge files are refused."""

from __future__ import annotations

import io
import struct
import sys
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from omnicodec.codecs.errors import InvalidInput, LimitExceeded, Unavailable
from omnicodec.codecs.media import Audio
from omnicodec.codecs.media import audio as audio_module

soundfile = pytest.importorskip("soundfile")

Samples = NDArray[np.float32]


def tone(channels: int = 2, length: int = 9000, rate: int = 44100) -> Audio:
    time = np.arange(length) / rate
    waves = [0.5 * np.sin(2 * np.pi * 440 * (c + 1) * time) for c in range(channels)]
    return Audio(np.array(waves, np.float32), rate)


def noise(channels: int = 2, length: int = 9000, bits: int = 16) -> Samples:
    scale = 1 << (bits - 1)
    values = np.random.default_rng(0).integers(-scale, scale, (channels, length))
    return (values / scale).astype(np.float32)


def file_of(samples: Samples, kind: str, subtype: str | None = None, rate: int = 8000) -> bytes:
    out = io.BytesIO()
    soundfile.write(out, samples.T, rate, format=kind, subtype=subtype)
    return out.getvalue()


@given(
    hnp.arrays(np.int16, st.tuples(st.integers(1, 4), st.integers(0, 40))),
    st.sampled_from([1, 8000, 11025, 44100, 192000]),
)
@settings(deadline=None, max_examples=40)
def test_16_bit_samples_round_trip_exactly(levels: NDArray[np.int16], rate: int) -> None:
    audio = Audio((levels / 32768).astype(np.float32), rate)
    assert Audio.open(audio.to_bytes(".wav")) == audio
    if levels.shape[1]:
        assert Audio.open(audio.to_bytes(".flac")) == audio


def test_every_16_bit_level_is_kept() -> None:
    audio = Audio((np.arange(-32768, 32768) / 32768).astype(np.float32)[None], 8000)
    assert Audio.open(audio.to_bytes(".wav")) == audio
    assert Audio.open(audio.to_bytes(".flac")) == audio


def test_samples_between_two_levels_go_to_the_nearest() -> None:
    audio = Audio(np.array([[0.4, 0.6, -0.4, -0.6]], np.float32) / np.float32(32768), 8000)
    assert (Audio.open(audio.to_bytes(".wav")).samples * 32768).tolist() == [[0, 1, 0, -1]]


def test_flac_keeps_24_bits_and_costs_16_bit_samples_nothing() -> None:
    audio = Audio(noise(bits=24), 96000)
    assert Audio.open(audio.to_bytes(".flac")) == audio
    assert len(Audio(noise(bits=16), 96000).to_bytes(".flac")) < 1.1 * 2 * 2 * 9000


@pytest.mark.parametrize("channels", [1, 2, 3])
def test_ogg_is_close(channels: int) -> None:
    audio = tone(channels)
    back = Audio.open(audio.to_bytes(".ogg"))
    assert back.sample_rate == audio.sample_rate
    assert back.samples.shape == audio.samples.shape
    assert np.sqrt(np.mean((back.samples - audio.samples) ** 2)) < 0.02


def test_a_long_ogg_file_is_written_in_pieces() -> None:
    assert Audio.open(tone(1, 300_000).to_bytes(".ogg")).samples.shape == (1, 300_000)


@pytest.mark.parametrize("suffix", [None, ".WAV"])
def test_wav_is_the_default_and_case_does_not_matter(suffix: str | None) -> None:
    data = tone().to_bytes(suffix)
    assert data[:4] == b"RIFF"
    assert struct.unpack_from("<H", data, 34) == (16,)  # bits per sample


@pytest.mark.parametrize("suffix", [".wav", ".flac"])
def test_loud_samples_are_kept_in_memory_and_clipped_in_files(suffix: str) -> None:
    audio = Audio(np.array([[3.0, 1.0, -1.0, -3.0]], np.float32), 8000)
    assert audio.samples.max() == 3.0
    back = Audio.open(audio.to_bytes(suffix)).samples[0]
    assert back == pytest.approx([1, 1, -1, -1], abs=1 / 32768)


@pytest.mark.parametrize(
    ("kind", "subtype"),
    [("WAV", "PCM_U8"), ("WAV", "PCM_24"), ("WAV", "FLOAT"), ("WAV", "ULAW"), ("AIFF", "PCM_16"),
     ("CAF", "PCM_16"), ("AU", "PCM_16"), ("RF64", "PCM_16"), ("W64", "PCM_16"),
     ("MP3", None), ("OGG", "OPUS")],
)  # fmt: skip
def test_other_kinds_of_files_are_read(kind: str, subtype: str | None) -> None:
    audio = tone(2, 24000, 24000)
    back = Audio.open(file_of(audio.samples, kind, subtype, 24000))
    assert back.sample_rate == 24000
    assert back.samples.shape == audio.samples.shape
    assert np.corrcoef(back.samples[1], audio.samples[1])[0, 1] > 0.98


def test_float_wav_is_read_exactly_also_beyond_full_scale() -> None:
    samples = np.array([[1.5, -0.1, 1e-9]], np.float32)
    assert np.array_equal(Audio.open(file_of(samples, "WAV", "FLOAT")).samples, samples)


def test_equality_needs_samples_and_rate() -> None:
    audio = tone()
    assert audio == Audio(audio.samples.copy(), 44100)
    assert audio != Audio(audio.samples, 44101)
    assert audio != Audio(audio.samples[:1], 44100)
    assert audio != Audio(-audio.samples, 44100)


def test_duration_and_size() -> None:
    audio = Audio(np.zeros((2, 12000), np.float32), 8000)
    assert audio.duration == 1.5
    assert audio.nbytes == 48000  # as 16-bit PCM
    assert Audio(np.zeros((1, 0), np.float32), 8000).duration == 0


def test_no_samples_have_a_wav_but_no_flac() -> None:
    audio = Audio(np.zeros((2, 0), np.float32), 8000)
    assert Audio.open(audio.to_bytes(".wav")) == audio
    with pytest.raises(InvalidInput, match="FLAC cannot hold 0 samples"):
        audio.to_bytes(".flac")


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_samples_must_be_finite(bad: float) -> None:
    samples = np.array([[0.0, bad]], np.float32)
    with pytest.raises(InvalidInput, match="finite"):
        Audio(samples, 8000)
    with pytest.raises(InvalidInput, match="finite"):
        Audio.open(file_of(samples, "WAV", "FLOAT"))


@pytest.mark.parametrize("rate", [0, -1, 44100.0, "44100", None, True, 1 << 31])
def test_sample_rate_must_be_a_positive_integer(rate: Any) -> None:
    with pytest.raises(InvalidInput, match="sample_rate"):
        Audio(np.zeros((1, 1), np.float32), rate)


def test_a_numpy_sample_rate_becomes_a_plain_int() -> None:
    rate: Any = np.int32(8000)
    assert type(Audio(np.zeros((1, 1), np.float32), rate).sample_rate) is int


@pytest.mark.parametrize(
    "samples", [np.zeros(4, np.float32), np.zeros((1, 4)), np.zeros((0, 4), np.float32)]
)
def test_arrays_of_another_form_are_refused(samples: Samples) -> None:
    with pytest.raises(InvalidInput):
        Audio(samples, 8000)


@pytest.mark.parametrize(
    "data", [b"hello, this is text in a.wav\n" * 9, b"RIFF", b"RIFF\x24\0\0\0WAVEfmt ", b"fLaC"]
)
def test_what_is_no_audio_is_refused(data: bytes) -> None:
    with pytest.raises(InvalidInput):
        Audio.open(data)


def test_formats_outside_the_list_never_reach_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    data = file_of(noise(), "MAT5")
    assert soundfile.read(io.BytesIO(data))[0].size  # it could be read
    monkeypatch.setattr(soundfile, "SoundFile", lambda *_: pytest.fail("opened"))
    with pytest.raises(InvalidInput, match="not an audio file"):
        Audio.open(data)


@pytest.mark.parametrize("share", [0.001, 0.01, 0.5, 0.99])
def test_a_flac_file_that_was_cut_off_is_refused(share: float) -> None:
    data = Audio(noise(), 44100).to_bytes(".flac")
    with pytest.raises(InvalidInput, match="damaged"):
        Audio.open(data[: int(len(data) * share)])


def test_a_wav_file_that_was_cut_off_gives_what_is_there() -> None:
    audio = Audio(noise(), 44100)
    data = audio.to_bytes(".wav")
    back = Audio.open(data[: 44 + 4 * 100])
    assert np.array_equal(back.samples, audio.samples[:, :100])


def with_length(flac: bytes, samples: int) -> bytes:
    """Return the FLAC file with another number of samples in its header."""
    place = 8 + 13  # the 36 bits begin in the middle of this byte
    high, low = divmod(samples, 1 << 32)
    first = bytes([flac[place] & 0xF0 | high])
    return flac[:place] + first + low.to_bytes(4, "big") + flac[place + 5 :]


def test_the_length_in_the_header_is_checked_before_decoding() -> None:
    flac = Audio(noise(), 44100).to_bytes(".flac")
    assert Audio.open(with_length(flac, 9000)).samples.shape == (2, 9000)
    with pytest.raises(LimitExceeded):
        Audio.open(with_length(flac, (1 << 36) - 1))


def test_a_flac_file_without_a_length_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """As encoders write it that cannot go back; libsndfile does not read it."""
    pytest.importorskip("av")
    audio = Audio(noise(), 44100)
    data = with_length(audio.to_bytes(".flac"), 0)
    assert Audio.open(data) == audio
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(Unavailable, match=r'pip install "omnicodec\[video\]"'):
        Audio.open(data)


def test_the_limit_counts_all_channels(monkeypatch: pytest.MonkeyPatch) -> None:
    data = Audio(noise(2, 50), 8000).to_bytes(".wav")
    monkeypatch.setattr(audio_module, "MAX_SAMPLES", 100)
    assert Audio.open(data).samples.size == 100
    monkeypatch.setattr(audio_module, "MAX_SAMPLES", 99)
    with pytest.raises(LimitExceeded):
        Audio(noise(2, 50), 8000)
    monkeypatch.setattr(soundfile.SoundFile, "read", lambda *_, **__: pytest.fail("decoded"))
    with pytest.raises(LimitExceeded):
        Audio.open(data)


@pytest.mark.parametrize(
    ("suffix", "channels", "rate"),
    [(".flac", 9, 8000), (".flac", 1, 700_000), (".ogg", 256, 8000), (".ogg", 1, 200_001),
     (".wav", 1025, 8000)],
)  # fmt: skip
def test_what_a_format_has_no_room_for_is_refused(suffix: str, channels: int, rate: int) -> None:
    with pytest.raises(InvalidInput, match="cannot hold"):
        Audio(np.zeros((channels, 4), np.float32), rate).to_bytes(suffix)


@pytest.mark.parametrize("suffix", [".wav", ".flac", ".ogg"])
def test_damage_never_raises_anything_else(suffix: str) -> None:
    rng = np.random.default_rng(2)
    data = tone(1, 3000).to_bytes(suffix)
    refused = 0
    for _ in range(60):
        broken = bytearray(data)
        for place in rng.integers(0, min(len(data), 200), 4):
            broken[place] = rng.integers(0, 256)
        try:
            Audio.open(bytes(broken))
        except (InvalidInput, LimitExceeded):
            refused += 1
    assert refused > 0


def test_without_soundfile_the_message_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    data = tone().to_bytes()
    monkeypatch.setitem(sys.modules, "soundfile", None)
    with pytest.raises(Unavailable, match=r'pip install "omnicodec\[audio\]"'):
        Audio.open(data)
    with pytest.raises(Unavailable):
        tone().to_bytes(".flac")
    assert tone().to_bytes(".wav") == data  # needs nothing


@pytest.mark.parametrize("channels", [1, 2, 3, 8])
def test_a_wav_is_what_libsndfile_writes(channels: int) -> None:
    audio = Audio(noise(channels, 1001), 44100)
    assert audio.to_bytes(".wav") == file_of(audio.samples, "WAV", "PCM_16", 44100)


@pytest.mark.parametrize("rate", [8000, 11_025, 44_100, 96_000, 192_000])
@pytest.mark.parametrize("channels", [1, 8])
def test_rates_and_channels(rate: int, channels: int) -> None:
    audio = Audio(noise(channels, 500), rate)
    for suffix in (".wav", ".flac"):
        assert Audio.open(audio.to_bytes(suffix)) == audio
