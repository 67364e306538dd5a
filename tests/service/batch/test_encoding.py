"""Parts to tokens: grouped as codecs like it, the same as one by one, and errors told."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from omnicodec.codecs import (
    Audio,
    Cancelled,
    CodecSpec,
    FingerprintMismatch,
    InvalidInput,
    Text,
    Tokens,
    load,
)
from omnicodec.codecs.codec import Settings
from omnicodec.codecs.registry import AnyCodec
from omnicodec.codecs.text.bytes import ByteCodec
from omnicodec.codecs.work import Progress
from omnicodec.service.batch import encoding
from omnicodec.service.batch.documents import Item, Part
from omnicodec.service.batch.encoding import Encoder, concatenated
from omnicodec.service.batch.flow import Flow
from omnicodec.service.batch.job import ItemLimits, Job
from omnicodec.service.batch.opening import Opener, windows
from omnicodec.service.batch.tasks import Opened, Sound, Task, Window

from .listed import choice, texts

Register = Callable[[str, type[AnyCodec]], None]
NAME = "text/picky"


class PickyCodec(ByteCodec):
    """Refuses texts with an x, and raises what `faults` has for one of their bytes."""

    batched: ClassVar[bool] = True
    calls: ClassVar[list[int]] = []
    faults: ClassVar[dict[bytes, Exception]] = {b"x": InvalidInput("an x")}

    @classmethod
    def describe(cls) -> CodecSpec:
        return replace(ByteCodec.describe(), name=NAME)

    def _encode_all(self, items: Sequence[Text], settings: Settings) -> list[Tokens]:
        self.calls.append(len(items))
        for item in items:
            for letter, error in self.faults.items():
                if letter in item.data:
                    raise error
        return super()._encode_all(items, settings)


@pytest.fixture
def picky(register: Register, monkeypatch: pytest.MonkeyPatch) -> type[PickyCodec]:
    register(NAME, PickyCodec)
    monkeypatch.setattr(PickyCodec, "calls", [])
    return PickyCodec


def job_of(*names: str) -> Job:
    codecs = tuple(choice(name) for name in names)
    return Job(sources=(), codecs=codecs, vocabulary="", format="parquet", layout="raw")


def window_of(items: Sequence[Item]) -> Window:
    """Return the parts of items, opened, in one window."""
    opener = Opener(ItemLimits(), frozenset({"text", "image", "audio"}), Path())
    tasks = [Task.of(item) for item in items]
    return Window(tasks, [opener.open(task, n) for task in tasks for n in range(task.left)])


def test_a_window_is_one_call_of_a_codec_that_likes_many(picky: type[PickyCodec]) -> None:
    encoder = Encoder(job_of(NAME), device="cpu")
    tasks = encoder.encode(window_of(texts(b"a", b"", b"bc")))
    assert picky.calls == [3]
    assert [task.found[0][0].tokens.ids.tolist() for task in tasks] == [[[97]], [[]], [[98, 99]]]
    assert [(task.found[0][0].units, task.found[0][0].nbytes) for task in tasks] == [
        (1, 1),
        (0, 0),
        (2, 2),
    ]


@pytest.mark.usefixtures("picky")
def test_who_fails_in_a_group_fails_alone() -> None:
    encoder = Encoder(job_of(NAME), device="cpu")
    tasks = encoder.encode(window_of(texts(b"a", b"x", b"b")))
    assert [task.reject and task.reject.reason for task in tasks] == [None, "an x", None]
    assert tasks[2].found[0][0].tokens.ids.tolist() == [[98]]


def test_faults_are_of_the_item_and_those_of_the_machine_end_the_work(
    picky: type[PickyCodec], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(picky, "faults", {b"x": IndexError("out\nof range")})
    (task,) = Encoder(job_of(NAME), device="cpu").encode(window_of(texts(b"x")))
    assert task.reject is not None
    assert task.reject.error == "IndexError"
    assert task.reject.reason == "it cannot be worked on: out of range"
    for error in (RuntimeError("device"), MemoryError(), Cancelled("no"), FingerprintMismatch("")):
        monkeypatch.setattr(picky, "faults", {b"x": error})
        with pytest.raises(type(error)):
            Encoder(job_of(NAME), device="cpu").encode(window_of(texts(b"a", b"x")))


# What parts can be: good, not to be opened, not to be encoded.
PARTS = {"a": Part("text", b"a"), "o": Part("smell", b"o"), "x": Part("text", b"x")}


@pytest.mark.usefixtures("picky")
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    shape=st.lists(st.text(alphabet="aaox", min_size=1, max_size=5), max_size=12),
    most_parts=st.integers(1, 9),
    threads=st.booleans(),
)
def test_documents_are_whole_or_rejected_for_their_first_broken_part(
    shape: list[str], most_parts: int, threads: bool
) -> None:
    items = [
        Item(str(n), str(n), tuple(PARTS[letter] for letter in letters))
        for n, letters in enumerate(shape)
    ]
    encoder = Encoder(job_of(NAME), device="cpu")
    done: list[Task] = []
    with Flow(threads=threads) as flow:
        for window in flow.ahead(
            windows(
                flow,
                Opener(ItemLimits(), frozenset({"text"}), Path()),
                items,
                blamed={},
                threads=2,
                most_parts=most_parts,
                most_weight=1 << 20,
            )
        ):
            done += encoder.encode(window)
    assert [task.item.position for task in done] == [str(n) for n in range(len(shape))]
    for task, letters in zip(done, shape, strict=True):
        broken = [n for n, letter in enumerate(letters) if letter != "a"]
        if not broken:
            assert task.reject is None
            assert [each.tokens.ids.tolist() for (each,) in task.found] == [[[97]]] * len(letters)
            continue
        reject = task.reject
        assert reject is not None
        assert reject.part == (broken[0] if len(letters) > 1 else None)
        expected = "an x" if letters[broken[0]] == "x" else "no codec was chosen for smell"
        assert reject.reason == expected


def test_sound_in_pieces_has_the_tokens_of_the_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("omnicodec.service.batch.opening.WHOLE_SAMPLES", 1000)
    monkeypatch.setattr("omnicodec.service.batch.opening.PIECE_SECONDS", 0.17)
    monkeypatch.setattr(encoding, "_ALIVE_SECONDS", 0.0)
    t = np.arange(4800) / 8000
    tone = np.sin(2 * np.pi * 330 * t[None] * (1 + t / 9)).astype(np.float32)
    wave = Audio(tone / 2, 8000).to_bytes(".wav")
    path = tmp_path / "tone.wav"
    path.write_bytes(wave)
    alive = []
    encoder = Encoder(job_of("audio/rvq"), device="cpu", alive=lambda: alive.append(1))
    window = window_of([Item("tone", "tone", (Part("audio", path),))])
    assert isinstance(window.parts[0].media[0][1], Sound)
    (task,) = encoder.encode(window)
    (found,) = task.found[0]
    assert found.tokens == load("audio/rvq").encode([Audio.open(wave)])[0]
    assert (found.units, found.seconds, found.nbytes) == (4800, 0.6, len(wave))
    assert len(alive) == 4  # 0.6 seconds in pieces of 0.17


def test_sound_that_breaks_off_rejects_its_item(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("omnicodec.service.batch.opening.WHOLE_SAMPLES", 1000)
    monkeypatch.setattr("omnicodec.service.batch.opening.PIECE_SECONDS", 0.1)
    noise = np.random.default_rng(0).uniform(-1, 1, (1, 4000)).astype(np.float32)
    flac = Audio(noise, 8000).to_bytes(".flac")
    encoder = Encoder(job_of("audio/rvq"), device="cpu")
    broken = Part("audio", flac[: len(flac) * 3 // 4])
    (task,) = encoder.encode(window_of([Item("cut", "cut", (broken,))]))
    assert task.reject is not None
    assert task.reject.error == "InvalidInput"


@given(cuts=st.lists(st.integers(0, 10), max_size=4), inner=st.integers(1, 3))
def test_tokens_of_a_stream_add_up(cuts: list[int], inner: int) -> None:
    ids = np.arange(2 * 10 * inner, dtype=np.int32).reshape(2, -1)
    edges = [0, *sorted(cuts), 10]
    parts = [
        Tokens("c", "f" * 16, ids[:, a * inner : b * inner], (b - a, inner), {"n": b - a, "r": 5})
        for a, b in pairwise(edges)
    ]
    # A stream's last tokens may be none, of a size that says nothing.
    parts.append(Tokens("c", "f" * 16, np.zeros((2, 0), np.int32), (0, 1), {"n": 7, "r": 5}))
    whole = Tokens("c", "f" * 16, ids, (10, inner), {"n": 17, "r": 5})
    assert concatenated(parts, "n") == whole


class LongCodec(PickyCodec):
    """Reports each of 5 steps of an item."""

    @classmethod
    def describe(cls) -> CodecSpec:
        return replace(ByteCodec.describe(), name=NAME, resumable=True)

    def _encode_all(self, items: Sequence[Text], settings: Settings) -> list[Tokens]:
        for step in range(5):
            settings.work.report(
                Progress(share=step / 5, step=step, bits=0, psnr=0, seconds_left=0)
            )
        return super()._encode_all(items, settings)


def test_long_work_is_alive_and_can_be_ended(
    register: Register, monkeypatch: pytest.MonkeyPatch
) -> None:
    register(NAME, LongCodec)
    monkeypatch.setattr(encoding, "_ALIVE_SECONDS", 0.0)
    alive: list[int] = []

    def check() -> None:
        if len(alive) == 7:
            raise Cancelled("enough")

    encoder = Encoder(job_of(NAME), device="cpu", alive=lambda: alive.append(1), check=check)
    with pytest.raises(Cancelled):
        encoder.encode(window_of(texts(b"a", b"b")))
    assert len(alive) == 7


def test_codecs_are_opened_when_they_are_needed() -> None:
    wrong = replace(choice("audio/rvq"), fingerprint="0" * 16)
    job = replace(job_of("text/bytes"), codecs=(choice("text/bytes"), wrong))
    encoder = Encoder(job, device="cpu")
    assert encoder.encode(window_of(texts(b"a")))[0].reject is None
    silence = Audio(np.zeros((1, 10), np.float32), 8000).to_bytes(".wav")
    with pytest.raises(FingerprintMismatch, match="this data set was begun with 0000"):
        encoder.encode(window_of([Item("s", "s", (Part("audio", silence),))]))


def test_settings_are_those_of_the_job(blocks: tuple[str, str]) -> None:
    from omnicodec.codecs import Image

    pixels = np.random.default_rng(0).integers(0, 255, (6, 6, 3), np.uint8)
    job = replace(job_of(), codecs=(choice(blocks[0], quality=100, effort="best"),))
    item = Item("p", "p", (Part("image", Image(pixels).to_bytes(".png")),))
    (task,) = Encoder(job, device="cpu").encode(window_of([item]))
    (expected,) = load(blocks[0]).encode([Image(pixels)], quality=100, effort="best")
    assert task.found[0][0].tokens == expected
    wrong = replace(job_of(), codecs=(choice(blocks[0], quality=99),))
    with pytest.raises(InvalidInput, match="has no quality 99"):
        Encoder(wrong, device="cpu").codec("image")


def test_pictures_of_one_shape_run_side_by_side() -> None:
    class Wide:
        """Stands for a codec on a GPU: what it is asked, and nothing else."""

        on_device, batched, parallel = True, False, False

        def shape_class(self, item: Text, settings: Settings) -> int:
            return len(item.data)

    encoder = Encoder(job_of("text/bytes"), device="cpu")
    encoder.codec("text")
    encoder._codecs["text"] = (Wide(), Settings())  # type: ignore[assignment]
    task = Task.of(texts(b"")[0])
    parts = [Opened(task, 0, (("text", Text(b"a" * size)),)) for size in (1, 2, 1, 3, 2, 1)]
    groups = [
        [len(unit.medium[1].data) for unit in group]
        for _, _, group in encoder._groups(encoder._units(Window([], parts)))
    ]
    assert groups == [[1, 1, 1], [2, 2], [3]]


def test_networks_have_one_thread_while_a_shard_is_written() -> None:
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        with Encoder(job_of("image/vq", "text/bytes"), device="cpu") as encoder:
            encoder.codec("text")
            assert torch.get_num_threads() == 3  # nothing runs on a device
            encoder.codec("image")
            assert torch.get_num_threads() == 1
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)
