"""Sound in pieces: files of every kind, live pipes, plain samples, and writing them back."""

from __future__ import annotations

import io
import os
import struct
import sys
import tempfile
import threading
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from omnicodec.codecs import Audio, InvalidInput, Unavailable
from omnicodec.codecs.media.audio_reader import AudioReader, is_sound
from omnicodec.codecs.media.audio_writer import AudioWriter
from omnicodec.codecs.media.pcm import PCM, SAMPLE_FORMATS, UNKNOWN

soundfile = pytest.importorskip("soundfile")
av = pytest.importorskip("av")

RATE = 24_000


def tone(channels: int = 2, length: int = 30_000, rate: int = RATE) -> Audio:
    time = np.arange(length) / rate
    waves = [0.4 * np.sin(2 * np.pi * 300 * (c + 1) * time) for c in range(channels)]
    return Audio(np.array(waves, np.float32), rate)


def sndfile(kind: str, subtype: str | None = None) -> bytes:
    out = io.BytesIO()
    soundfile.write(out, tone().samples.T, RATE, format=kind, subtype=subtype)
    return out.getvalue()


def ffmpeg(kind: str, codec: str, **options: str) -> bytes:
    audio = tone(rate=48_000, length=60_000)
    with tempfile.TemporaryDirectory() as name:
        path = Path(name, "sound")  # FFmpeg opens it again for "faststart"
        _encode(path, audio, kind, codec, options)
        return path.read_bytes()


def _encode(path: Path, audio: Audio, kind: str, codec: str, options: dict[str, str]) -> None:
    with av.open(path, "w", format=kind, options=options) as file:
        stream: Any = file.add_stream(codec, 48_000)
        stream.layout = "stereo"
        frame = av.AudioFrame.from_ndarray(
            np.ascontiguousarray(audio.samples.T.reshape(1, -1)), "flt", "stereo"
        )
        frame.sample_rate, frame.time_base, frame.pts = 48_000, Fraction(1, 48_000), 0
        file.mux(stream.encode(frame))
        file.mux(stream.encode())


def joined(source: Any, seconds: float = 0.1, pcm: PCM | None = None) -> Audio:
    with AudioReader(source, seconds=seconds, pcm=pcm) as reader:
        pieces = list(reader)
    assert all(piece.duration == pieces[0].duration for piece in pieces[:-1])
    return Audio(np.concatenate([p.samples for p in pieces], 1), reader.sample_rate)


class Pipe(io.RawIOBase):
    """Bytes that come in bits of any size and cannot be gone back in."""

    def __init__(self, data: bytes) -> None:
        self._file = io.BytesIO(data)
        self._sizes = np.random.default_rng(len(data))

    def read(self, size: int = -1) -> bytes:
        most = int(self._sizes.integers(1, 5000))
        return self._file.read(most if size < 0 else min(size, most))

    def seekable(self) -> bool:
        return False


@pytest.mark.parametrize(
    ("kind", "subtype"),
    [("WAV", "PCM_16"), ("WAV", "FLOAT"), ("WAV", "ULAW"), ("WAVEX", "PCM_24"), ("FLAC", None),
     ("MP3", None), ("OGG", "VORBIS"), ("OGG", "OPUS"), ("AIFF", None), ("W64", None)],
)  # fmt: skip
def test_pieces_are_the_whole(kind: str, subtype: str | None, tmp_path: Path) -> None:
    data = sndfile(kind, subtype)
    whole = Audio.open(data)
    assert np.corrcoef(whole.samples[1], tone().samples[1])[0, 1] > 0.95
    path = tmp_path / "sound"
    path.write_bytes(data)
    for seconds in (0.037, 0.5, 100):
        assert joined(path, seconds) == whole
    assert joined(Pipe(data)) == whole
    with Audio.stream(path, seconds=0.5) as reader:
        assert (reader.sample_rate, reader.channels, reader.length) == (RATE, 2, 30_000)


@pytest.mark.parametrize(
    ("kind", "codec", "options"),
    [("mp4", "aac", {}), ("mp4", "aac", {"movflags": "faststart"}), ("mp4", "alac", {}),
     ("matroska", "aac", {}), ("webm", "libopus", {}), ("adts", "aac", {}),
     ("mpegts", "aac", {}), ("avi", "pcm_s16le", {})],
)  # fmt: skip
def test_what_libsndfile_does_not_read_goes_through_ffmpeg(
    kind: str, codec: str, options: dict[str, str]
) -> None:
    data = ffmpeg(kind, codec, **options)
    whole = Audio.open(data)
    assert (whole.sample_rate, len(whole.samples)) == (48_000, 2)
    assert abs(whole.samples.shape[1] - 60_000) <= 2048
    spectrum = np.abs(np.fft.rfft(whole.samples[1, 4000:52_000] * np.hanning(48_000)))
    assert spectrum.argmax() == 600  # Hz, of one second
    assert joined(io.BytesIO(data), 0.3) == whole
    assert joined(Pipe(data)) == whole


def test_the_sound_of_a_video() -> None:
    from omnicodec.codecs import Video

    video = Video(np.zeros((5, 16, 16, 3), np.uint8), Fraction(5), tone(length=24_000))
    assert Audio.open(video.to_bytes(".mkv")) == tone(length=24_000)
    silent = Video(np.zeros((5, 16, 16, 3), np.uint8), Fraction(5))
    with pytest.raises(InvalidInput, match="no sound"):
        Audio.open(silent.to_bytes(".mp4"))


def test_without_av_the_message_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    data = ffmpeg("mp4", "aac")
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(Unavailable, match=r'pip install "omnicodec\[video\]"'):
        Audio.open(data)


@pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
def test_files_that_were_cut_off(share: float) -> None:
    """FLAC and MP4 say how long they are; the error comes behind what was there."""
    for data in (sndfile("FLAC"), ffmpeg("mp4", "alac", movflags="faststart")):
        part = data[: int(len(data) * share)]
        for read in (Audio.open, joined):
            with pytest.raises(InvalidInput, match="damaged"):
                read(part)


@pytest.mark.parametrize(
    "data", [b"", b"words, and no sound at all\n" * 40, bytes(2000), b"\x47@" * 9]
)
def test_what_is_no_sound_is_refused(data: bytes, tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(data)
    for source in (path, Pipe(data), data):
        with pytest.raises(InvalidInput):
            AudioReader(source)
    with pytest.raises(InvalidInput, match="cannot read"):
        AudioReader(tmp_path / "missing")
    with pytest.raises(InvalidInput, match="cannot read"):
        AudioReader(tmp_path)
    assert not is_sound(data)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_samples_that_are_not_finite(bad: float) -> None:
    samples = tone().samples.copy()
    samples[0, 20_000] = bad
    out = io.BytesIO()
    soundfile.write(out, samples.T, RATE, format="WAV", subtype="FLOAT")
    plain = PCM("f32le", RATE, 2).to_bytes(samples)
    for source, pcm in ((out.getvalue(), None), (Pipe(out.getvalue()), None),
                        (Pipe(plain), PCM("f32le", RATE, 2))):  # fmt: skip
        with pytest.raises(InvalidInput, match="finite"):
            joined(source, pcm=pcm)


def test_no_samples_make_one_empty_piece() -> None:
    empty = Audio(np.zeros((3, 0), np.float32), 8000)
    data = empty.to_bytes(".wav")
    for source in (data, Pipe(data)):
        with AudioReader(source) as reader:
            assert list(reader) == [empty]
    with AudioReader(Pipe(b""), pcm=PCM("u8", 8000, 3)) as reader:
        assert list(reader) == [empty]


# Header lengths of WAVs that were written before their length was known: by FFmpeg, by sox,
# by arecord, by GStreamer.
@pytest.mark.parametrize(
    ("riff", "size"),
    [(UNKNOWN, UNKNOWN), (0x7FFFF024, 0x7FFFF000), (0x80000024, 0x80000000), (0, 0)],
)
def test_a_live_wav_goes_on_to_its_end(riff: int, size: int) -> None:
    data = bytearray(tone().to_bytes(".wav"))
    struct.pack_into("<I", data, 4, riff)
    struct.pack_into("<I", data, 40, size)
    with AudioReader(Pipe(bytes(data))) as reader:
        assert reader.length is None
    back = joined(Pipe(bytes(data) + b"\0"))  # half a sample more, which is dropped
    assert back == Audio.open(tone().to_bytes(".wav"))


def test_a_wav_in_a_pipe_ends_where_it_says() -> None:
    data = tone().to_bytes(".wav")
    assert joined(Pipe(data + b"LIST\4\0\0\0text")) == Audio.open(data)
    assert joined(Pipe(data[:-400])).samples.shape == (2, 29_900)
    with_list = data[:12] + b"LIST\3\0\0\0abc\0" + data[12:]
    assert joined(Pipe(with_list)) == Audio.open(data)
    for end in (3, 12, 20, 40):
        with pytest.raises(InvalidInput):
            AudioReader(Pipe(data[:end]))


def test_pieces_come_while_a_pipe_is_open() -> None:
    out, into = os.pipe()
    got = threading.Event()
    data = tone().to_bytes(".wav")

    def feed() -> None:
        with open(into, "wb") as pipe:
            pipe.write(data[:20_000])
            pipe.flush()
            got.wait(20)
            pipe.write(data[20_000:])

    feeder = threading.Thread(target=feed)
    feeder.start()
    with open(out, "rb") as pipe, AudioReader(pipe, seconds=0.1) as reader:
        pieces = iter(reader)
        first = next(pieces)
        got.set()
        rest = list(pieces)
    feeder.join()
    assert first.duration == 0.1
    assert sum(piece.samples.shape[1] for piece in [first, *rest]) == 30_000


@pytest.mark.parametrize(
    ("form", "subtype"),
    [("u8", "PCM_U8"), ("s16le", "PCM_16"), ("s24le", "PCM_24"), ("s32le", "PCM_32"),
     ("f32le", "FLOAT"), ("f64le", "DOUBLE")],
)  # fmt: skip
def test_plain_samples_are_those_of_libsndfile(form: str, subtype: str) -> None:
    audio = tone(3, 1000)
    out = io.BytesIO()
    soundfile.write(out, audio.samples.T, RATE, format="WAV", subtype=subtype)
    expected = Audio.open(out.getvalue())
    assert joined(Pipe(out.getvalue())) == expected
    pcm = PCM(form, RATE, 3)
    assert joined(Pipe(pcm.to_bytes(expected.samples)), pcm=pcm) == expected
    raw = io.BytesIO()
    with AudioWriter(raw, RATE, 3, pcm=form) as file:
        file.write(audio)
    soundfile_raw, _ = soundfile.read(
        raw, dtype="float32", format="RAW", channels=3, samplerate=RATE, subtype=subtype,
        endian="LITTLE",
    )  # fmt: skip
    assert np.array_equal(soundfile_raw.T, pcm.to_samples(raw.getvalue()))
    assert np.abs(soundfile_raw.T - audio.samples).max() <= (1 / 128 if form == "u8" else 1 / 32768)


@given(st.sampled_from(SAMPLE_FORMATS), st.binary(min_size=48, max_size=48))
def test_plain_samples_round_trip(form: str, data: bytes) -> None:
    pcm = PCM(form, 8000, 2)
    samples = pcm.to_samples(data)
    assert samples.shape == (2, 48 // pcm.frame_bytes)
    if np.isfinite(samples).all():
        once = pcm.to_bytes(samples)
        assert np.array_equal(pcm.to_samples(once), samples) or form in {"s32le", "f64le"}
        if form in {"u8", "s16le", "s24le"}:
            assert once == data


@pytest.mark.parametrize(
    ("text", "says"),
    [("s16le", "FORMAT:RATE:CHANNELS"), ("s16le:x:2", "FORMAT:RATE"), ("s17le:8000:1", "known: u8"),
     ("s16le:0:1", "no sample rate"), ("s16le:8000:0", "no number"), ("s16le:8000:-1", "FORMAT")],
)  # fmt: skip
def test_wrong_descriptions_of_plain_samples(text: str, says: str) -> None:
    with pytest.raises(InvalidInput, match=says):
        PCM.parse(text)
    assert PCM.parse("S16_LE:48000:2") == PCM("s16le", 48_000, 2)


@pytest.mark.parametrize("suffix", [".wav", ".flac", ".ogg"])
def test_written_pieces_are_the_whole(suffix: str, tmp_path: Path) -> None:
    audio = tone()
    path = tmp_path / f"out{suffix}"
    with AudioWriter(path, RATE, 2) as file:
        for start in range(0, 30_000, 7000):
            file.write(Audio(audio.samples[:, start : start + 7000].copy(), RATE))
    assert file.written == 30_000
    assert path.stat().st_size == file.nbytes
    if suffix != ".ogg":  # whose streams have a random number
        assert path.read_bytes() == audio.to_bytes(suffix)
    assert Audio.open(path).samples.shape == (2, 30_000)


class Forwards(io.BytesIO):
    def seekable(self) -> bool:
        return False


def test_writing_to_pipes() -> None:
    audio = tone()
    whole = audio.to_bytes(".wav")
    for length, sizes in ((None, b"\xff" * 4), (30_000, whole[40:44])):
        pipe = Forwards()
        with AudioWriter(pipe, RATE, 2, length=length) as file:
            file.write(audio)
        assert pipe.getvalue()[40:44] == sizes
        assert pipe.getvalue()[44:] == whole[44:]
        assert joined(Pipe(pipe.getvalue())) == Audio.open(whole)
        assert Audio.open(pipe.getvalue()) == Audio.open(whole)
    pipe = Forwards()
    with AudioWriter(pipe, RATE, 2, suffix=".flac") as file:
        file.write(audio)
    assert Audio.open(pipe.getvalue()) == Audio.open(audio.to_bytes(".flac"))


def test_a_file_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    for suffix in (".wav", ".flac"):
        for bad, says in ((tone(1), "cannot go on"), (tone(rate=8000), "cannot go on")):
            file = AudioWriter(tmp_path / f"a{suffix}", RATE, 2)
            with pytest.raises(InvalidInput, match=says), file:
                file.write(bad)
    with pytest.raises(InvalidInput, match="0 samples"):
        AudioWriter(tmp_path / "a.flac", RATE, 1).close()
    file = AudioWriter(tmp_path / "a.wav", RATE, 2, length=5)
    with pytest.raises(InvalidInput, match="30000 samples came"), file:
        file.write(tone())
    with pytest.raises(InvalidInput, match=r"\.wav, \.flac, \.ogg"):
        AudioWriter(tmp_path / "a.mp3", RATE, 2)
    with pytest.raises(InvalidInput, match="cannot write"):
        AudioWriter(tmp_path / "missing" / "a.wav", RATE, 2)
    assert list(tmp_path.iterdir()) == []


def test_more_than_4_gib_has_no_length() -> None:
    assert PCM("s16le", 48_000, 2).wav_header(1 << 30)[40:44] == b"\xff" * 4
    assert PCM("s16le", 48_000, 2).wav_header((1 << 30) - 20)[40:44] != b"\xff" * 4
