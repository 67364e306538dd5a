"""Parts to media: limits before decoding, long media in pieces, and what is wrong said in words."""

from __future__ import annotations

import io
import os
import struct
import zlib
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from omnicodec.codecs import Audio, Image, Media, Series, Text, Unavailable, Video
from omnicodec.service.batch import opening
from omnicodec.service.batch.documents import Item, Part, Reject
from omnicodec.service.batch.flow import Flow
from omnicodec.service.batch.job import ItemLimits
from omnicodec.service.batch.opening import Opener, windows
from omnicodec.service.batch.tasks import Opened, Sound, Task, measure

ALL = frozenset({"text", "image", "audio", "video", "series"})


@pytest.fixture(scope="module")
def sound() -> Audio:
    noise = np.random.default_rng(1).uniform(-1, 1, (2, 20_000)).astype(np.float32)
    return Audio(noise.round(1), 8000)


@pytest.fixture(scope="module")
def film(sound: Audio) -> Video:
    frames = np.random.default_rng(2).integers(0, 255, (12, 16, 24, 3), np.uint8)
    return Video(frames, Fraction(5), sound)


@pytest.fixture(scope="module")
def film_file(film: Video) -> bytes:
    return film.to_bytes(".mkv")


def opened(part: Part, scratch: Path, modalities: frozenset[str] = ALL, **limits: Any) -> Opened:
    task = Task.of(Item("here", "key", (part,)))
    return Opener(ItemLimits(**limits), modalities, scratch).open(task, 0)


def media_of(found: Opened) -> list[Media]:
    """Return the media of a part, sound in pieces as one."""
    assert found.error is None, found.error
    return [
        opening.joined(list(medium.pieces)) if isinstance(medium, Sound) else medium
        for _, medium in found.media
    ]


def test_each_kind_is_opened_from_bytes_and_from_a_file(
    tmp_path: Path, sound: Audio, film: Video, film_file: bytes
) -> None:
    image = Image(film.frames[0])
    series = Series(sound.samples, 10.0)
    for modality, data, media in (
        ("text", b"\xff text", [Text(b"\xff text")]),
        ("image", image.to_bytes(".png"), [image]),
        ("audio", sound.to_bytes(".wav"), [Audio.open(sound.to_bytes(".wav"))]),
        ("series", series.to_bytes(".npz"), [series]),
        ("video", film_file, [Video(film.frames, film.fps), film.audio]),
    ):
        path = tmp_path / modality
        path.write_bytes(data)
        for source in (data, path):
            found = opened(Part(modality, source), tmp_path)
            assert media_of(found) == media
            assert found.nbytes == len(data)


def test_long_media_come_in_pieces_and_from_files_and_are_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sound: Audio, film: Video, film_file: bytes
) -> None:
    monkeypatch.setattr(opening, "WHOLE_SAMPLES", 5000)
    monkeypatch.setattr(opening, "PIECE_SECONDS", 0.3)
    monkeypatch.setattr(opening, "IN_MEMORY", 1000)
    monkeypatch.setattr(opening, "_FRAMES_BYTES", 2000)
    wave = sound.to_bytes(".wav")
    (tmp_path / "a.wav").write_bytes(wave)
    for source in (wave, tmp_path / "a.wav"):
        found = opened(Part("audio", source), tmp_path)
        assert isinstance(found.media[0][1], Sound)
        assert media_of(found) == [Audio.open(wave)]
    found = opened(Part("video", film_file), tmp_path)
    assert isinstance(found.media[1][1], Sound)
    assert isinstance(found.media[0][1].frames.base, np.memmap)
    assert media_of(found) == [Video(film.frames, film.fps), film.audio]
    assert [path.name for path in tmp_path.iterdir()] == ["a.wav"]  # files of frames have no names


def test_the_sound_of_a_video_is_left_out_where_no_codec_takes_sound(
    tmp_path: Path, film: Video, film_file: bytes
) -> None:
    found = opened(Part("video", film_file), tmp_path, frozenset({"video"}))
    assert media_of(found) == [Video(film.frames, film.fps)]


def png_of(height: int, width: int) -> bytes:
    """Return a picture that says to have a size and holds next to nothing."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        crc = zlib.crc32(kind + data)
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", crc)

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"\0" * 64))


def test_what_is_over_a_limit_is_said_before_it_is_decoded(
    tmp_path: Path, sound: Audio, film_file: bytes
) -> None:
    wave = sound.to_bytes(".wav")
    for part, limits, words in (
        (Part("image", png_of(20_000, 6000)), {"pixels": 10**8}, "120,000,000 pixels are over"),
        (Part("image", png_of(60_000, 60_000)), {"pixels": 1 << 40}, "over the limit of 134,"),
        (Part("audio", wave), {"seconds": 2.4}, "2.5 seconds are over the limit of 2.4"),
        (Part("video", film_file), {"pixels": 4607}, "4,608 pixels are over the limit of 4,607"),
        (Part("video", film_file), {"seconds": 2.0}, "2.4 seconds are over"),
        (Part("text", b"12345"), {"nbytes": 4}, "5 bytes are over the limit of 4"),
    ):
        found = opened(part, tmp_path, **limits)
        assert type(found.error).__name__ == "LimitExceeded"
        assert words in str(found.error)
    exact = {"pixels": 4608, "seconds": 2.5, "nbytes": len(film_file)}
    assert opened(Part("video", film_file), tmp_path, **exact).error is None


def test_sound_that_does_not_tell_its_length_is_stopped_at_the_limit(
    tmp_path: Path, sound: Audio
) -> None:
    wave = bytearray(sound.to_bytes(".wav"))
    at = wave.index(b"data") + 4
    wave[at : at + 4] = wave[4:8] = b"\xff" * 4  # as a live WAV has it
    found = opened(Part("audio", bytes(wave)), tmp_path, seconds=2.4)
    assert "over the limit" in str(found.error)


def test_a_file_is_not_read_when_its_size_says_no(tmp_path: Path) -> None:
    path = tmp_path / "huge"
    with open(path, "wb") as file:
        file.truncate(1 << 40)
    for modality in ALL:
        found = opened(Part(modality, path), tmp_path, nbytes=1 << 30)
        assert "1,099,511,627,776 bytes are over" in str(found.error)


def test_what_is_no_file_is_told_without_waiting_and_without_its_path(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path, words in (
        (tmp_path / "missing", "cannot read the file: No such file or directory"),
        (tmp_path, "it is no regular file"),
        (tmp_path / "pipe", "it is no regular file"),
        (Path("/dev/zero"), "it is no regular file"),
        (tmp_path / "a\0b", "cannot read the file: embedded null byte"),
    ):
        for modality in ALL:
            assert str(opened(Part(modality, path), tmp_path).error) == words


def test_a_modality_without_a_codec_is_told(tmp_path: Path) -> None:
    for modality in ("series", "smell", ""):
        found = opened(Part(modality, b"x"), tmp_path, frozenset({"text"}))
        assert str(found.error) == f"no codec was chosen for {modality}"


@given(data=st.binary(max_size=60), kind=st.sampled_from(sorted(ALL)), cut=st.floats(0, 1))
def test_no_bytes_do_more_than_give_media_or_an_error(
    tmp_path_factory: pytest.TempPathFactory, film_file: bytes, data: bytes, kind: str, cut: float
) -> None:
    broken = film_file[: int(cut * len(film_file))] + data
    for content in (data, broken, png_of(5, 5)[: len(data)] + data):
        found = opened(Part(kind, content), tmp_path_factory.getbasetemp())
        assert (found.error is None) == bool(found.media)
        if found.error is not None:
            found.task.fail(0, found.error)
            assert found.task.reject is not None
            assert found.task.reject.reason.strip()
            assert "\n" not in found.task.reject.reason


def test_faults_of_libraries_are_of_the_item_and_faults_of_the_machine_are_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def raising(error: Exception) -> Callable[..., Media]:
        def open_limited(*_: object) -> Media:
            raise error

        return open_limited

    for error in (KeyError("x"), IndexError(), ZeroDivisionError(), RecursionError()):
        monkeypatch.setattr(opening, "open_limited", raising(error))
        assert opened(Part("image", b""), tmp_path).error is error
    for error in (MemoryError(), RuntimeError(), OSError(28, "full"), Unavailable("no library")):
        monkeypatch.setattr(opening, "open_limited", raising(error))
        with pytest.raises(type(error)):
            opened(Part("image", b""), tmp_path)


def test_a_full_disk_is_no_fault_of_a_video(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, film_file: bytes
) -> None:
    monkeypatch.setattr(opening, "IN_MEMORY", 1000)
    full = Path("/dev/full")
    monkeypatch.setattr(opening.tempfile, "TemporaryFile", lambda **_: full.open("w+b"))
    with pytest.raises(OSError, match="No space left"):
        opened(Part("video", film_file), tmp_path)


def entries_of(shape: list[list[int]]) -> list[Item | Reject]:
    """Return items with texts of these lengths; rejects where there are none."""
    return [
        Item(str(n), str(n), tuple(Part("text", b"x" * size) for size in sizes))
        if sizes
        else Reject(str(n), str(n), "InvalidInput", "broken")
        for n, sizes in enumerate(shape)
    ]


@given(
    shape=st.lists(st.lists(st.integers(0, 200), max_size=5), max_size=20),
    most_parts=st.integers(1, 8),
    most_weight=st.integers(1, 500),
    threads=st.booleans(),
)
def test_windows_have_all_parts_in_order_and_are_small(
    shape: list[list[int]], most_parts: int, most_weight: int, threads: bool
) -> None:
    opener = Opener(ItemLimits(), ALL, Path())
    with Flow(threads=threads) as flow:
        found = list(
            windows(
                flow,
                opener,
                entries_of(shape),
                blamed={"3": "it kills"},
                threads=2,
                most_parts=most_parts,
                most_weight=most_weight,
            )
        )
    begun = [task for window in found for task in window.begun]
    assert [task.item.position for task in begun] == [str(n) for n in range(len(shape))]
    for number, task in enumerate(begun):
        assert (task.rejected is not None) == (number == 3 or not shape[number])
    parts = [(each.task.item.position, each.part) for window in found for each in window.parts]
    assert parts == [
        (str(n), part) for n, sizes in enumerate(shape) if n != 3 for part in range(len(sizes))
    ]
    for window in found:
        assert len(window.parts) <= most_parts
        last = window.parts[-1].weight if window.parts else 0
        assert window.weight - last < most_weight


def test_an_item_without_parts_is_rejected() -> None:
    task = Task.of(Item("here", "key", ()))
    assert task.reject == Reject("here", "key", "InvalidInput", "there is nothing in this item")


def test_the_first_part_that_fails_is_told_whenever_it_does(tmp_path: Path) -> None:
    parts = tuple(Part("image", b"", f"{n}.png") for n in range(3))
    opener = Opener(ItemLimits(), ALL, tmp_path)
    task = Task.of(Item("doc", "key", parts))
    for number in (2, 1):
        error = opener.open(task, number).error
        assert error is not None
        task.fail(number, error)
    assert opener.open(task, 2).error is None  # nothing is done about it any more
    assert not task.goes_on(2)
    reject = task.reject
    assert reject is not None
    assert (reject.part, reject.error) == (1, "InvalidInput")
    assert reject.reason.startswith("1.png: ")


def test_units_are_those_of_the_medium_before_it_is_encoded(sound: Audio, film: Video) -> None:
    assert measure(Text("äb")) == (3, 0.0)
    assert measure(Image(film.frames[0])) == (16 * 24, 0.0)
    assert measure(sound) == (20_000, 2.5)
    assert measure(film) == (12 * 16 * 24, 2.4)
    assert measure(Series(sound.samples, 100.0)) == (20_000, 200.0)
    buffer = io.BytesIO()
    np.save(buffer, np.zeros(0, np.float32))
    assert measure(Series.open(buffer.getvalue())) == (0, 0.0)
