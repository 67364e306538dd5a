"""From opened parts to tokens, in order; each codec is given as many at once as suits it."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass
from typing import Any, Final, Self

import numpy as np

from omnicodec.codecs import (
    FingerprintMismatch,
    OmnicodecError,
    Progress,
    Tokens,
    UnknownCodec,
    Work,
)
from omnicodec.codecs.codec import Settings, StreamingCodec
from omnicodec.codecs.registry import AnyCodec
from omnicodec.service.batch.job import Job
from omnicodec.service.batch.opening import joined
from omnicodec.service.batch.tasks import (
    FAULTS,
    PASSED_ON,
    Found,
    Opened,
    Sound,
    Task,
    Window,
    measure,
)

_ALIVE_SECONDS: Final = 1.0


@dataclass(slots=True, eq=False)
class _Unit:
    """One medium of a part, and what became of it."""

    opened: Opened
    medium: Any
    found: Found | None = None
    nbytes: int = 0


class Encoder:
    """The codecs of a job, each opened when the first item needs it.

    `check` is asked in long work and raises what ends it; `alive` is called there now and then.

    While one is open, networks on a CPU run in one thread of this process: the last bits of
    their floats depend on how many there are, and with them a token now and then.
    """

    def __init__(
        self,
        job: Job,
        *,
        device: str,
        check: Callable[[], None] = lambda: None,
        alive: Callable[[], None] = lambda: None,
    ) -> None:
        self._choices = {choice.modality: choice for choice in job.codecs}
        self._device = device
        self._threads_before = 0
        self._check, self._alive = check, alive
        self._codecs: dict[str, tuple[AnyCodec, Settings]] = {}
        self._waiting: deque[Task] = deque()
        self._told = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._threads_before:
            import torch

            torch.set_num_threads(self._threads_before)

    def encode(self, window: Window) -> list[Task]:
        """Return the tasks that are done with this window, in the order in which they began.

        Each has its tokens, or an error. Raises what is wrong with the machine or a codec
        rather than with an item.
        """
        self._waiting.extend(window.begun)
        units = self._units(window)
        for codec, settings, group in self._groups(units):
            self._check()
            self._encode_group(codec, settings, group)
        for opened in window.parts:
            opened.task.left -= 1
        for unit in units:
            if unit.found is not None:
                task, part = unit.opened.task, unit.opened.part
                task.found[part] = (*task.found[part], unit.found)
        return list(self._done())

    def _done(self) -> Iterator[Task]:
        waiting = self._waiting
        while waiting and (not waiting[0].left or waiting[0].rejected is not None):
            yield waiting.popleft()

    def _units(self, window: Window) -> list[_Unit]:
        units = []
        for opened in window.parts:
            if opened.error is not None:
                opened.task.fail(opened.part, opened.error)
                continue
            nbytes = opened.nbytes
            for medium in opened.media:
                units.append(_Unit(opened, medium, None, nbytes))
                nbytes = 0  # a video's sound is in the same file
        return units

    def _groups(self, units: list[_Unit]) -> Iterator[tuple[AnyCodec, Settings, list[_Unit]]]:
        """Yield what one call encodes: items of one shape, or any where that makes no difference.

        An item that takes a network's time alone is a group of its own.
        """
        groups: dict[Hashable, list[_Unit]] = {}
        for number, unit in enumerate(units):
            modality, medium = unit.medium
            codec, settings = self.codec(modality)
            key: Hashable = None
            if isinstance(medium, Sound):
                key = number
            else:
                key = codec.shape_class(medium, settings)
                if key is None and (codec.on_device or codec.spec.resumable):
                    key = number
            groups.setdefault((modality, key), []).append(unit)
        for group in groups.values():
            codec, settings = self.codec(group[0].medium[0])
            yield codec, settings, [u for u in group if u.opened.task.goes_on(u.opened.part)]

    def _encode_group(self, codec: AnyCodec, settings: Settings, group: list[_Unit]) -> None:
        try:
            self._fill(codec, settings, group)
        except PASSED_ON:
            raise
        except (FingerprintMismatch, UnknownCodec):
            raise  # it is the codec that is wrong
        except (OmnicodecError, *FAULTS) as e:
            if len(group) == 1:
                group[0].opened.task.fail(group[0].opened.part, e)
                return
            for unit in group:  # one of them is to blame, and the others go on
                self._encode_group(codec, settings, [unit])

    def _fill(self, codec: AnyCodec, settings: Settings, group: list[_Unit]) -> None:
        media = [unit.medium[1] for unit in group]
        if not media:
            return
        if isinstance(media[0], Sound):
            group[0].found = self._encode_sound(codec, settings, media[0], group[0].nbytes)
            return
        for unit, tokens in zip(group, self._call(codec, settings, media), strict=True):
            units, seconds = measure(unit.medium[1])
            unit.found = Found(tokens, unit.nbytes, units, seconds)

    def _call(self, codec: AnyCodec, settings: Settings, media: list[Any]) -> list[Tokens]:
        work = None
        if codec.spec.resumable and len(media) == 1:
            work = Work(listen=self._heard)
        return codec.encode(
            media,
            quality=settings.quality,
            effort=settings.effort,
            method=settings.method,
            work=work,
        )

    def _encode_sound(
        self, codec: AnyCodec, settings: Settings, sound: Sound, nbytes: int
    ) -> Found:
        """Return the tokens of sound in pieces: those that it has as a whole."""
        if not isinstance(codec, StreamingCodec):
            whole = joined(list(sound.pieces))
            (tokens,) = self._call(codec, settings, [whole])
            return Found(tokens, nbytes, *measure(whole))
        stream = codec.open_encoder(quality=settings.quality, effort=settings.effort)
        parts, rate = [], 1
        for piece in sound.pieces:
            parts.append(stream.push(piece))
            rate = piece.sample_rate
            self._heard()
        parts.append(stream.finish())
        tokens = concatenated(parts, codec.spec.extent[0])
        length = tokens.extent[codec.spec.extent[0]]
        return Found(tokens, nbytes, length, length / rate)

    def _heard(self, _: Progress | None = None) -> None:
        """Take note of a step of work that takes long."""
        self._check()
        now = time.monotonic()
        if now - self._told >= _ALIVE_SECONDS:
            self._told = now
            self._alive()

    def codec(self, modality: str) -> tuple[AnyCodec, Settings]:
        """Return the codec of a modality and the settings of the job.

        Raises what `load` raises, `FingerprintMismatch`, and `InvalidInput` for settings that
        the codec does not have.
        """
        if modality not in self._codecs:
            choice = self._choices[modality]
            codec = choice.open(self._device)
            if codec.on_device and not self._threads_before:
                self._threads_before = _one_thread()
            self._codecs[modality] = (
                codec,
                codec.settings(quality=choice.quality, effort=choice.effort, method=choice.method),
            )
        return self._codecs[modality]


def _one_thread() -> int:
    """Have torch use one thread on CPUs, and return how many it has used."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    return before


def concatenated(parts: list[Tokens], grows: str) -> Tokens:
    """Return the tokens of a stream as one; `grows` is the integer of the extent that adds up.

    Grids grow along their first axis. Those of no positions have no say in the rest.
    """
    first = next((part for part in parts if len(part)), parts[0])
    rest = first.grid[1:]
    ids = np.concatenate([part.ids for part in parts], 1)
    extent = {**first.extent, grows: sum(part.extent[grows] for part in parts)}
    grid = ids.shape[1] // max(1, math.prod(rest)), *rest
    return Tokens(first.codec, first.fingerprint, ids, grid, extent)
