"""What all tests need."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import ClassVar

import hypothesis
import numpy as np
import pytest
from numpy.typing import NDArray

from omnicodec import codecs
from omnicodec.codecs import CodecSpec, Text, Tokens, registry
from omnicodec.codecs.codec import Settings
from omnicodec.codecs.prior import Prior, Span
from omnicodec.codecs.registry import AnyCodec
from omnicodec.codecs.text.bytes import ByteCodec

# A shell starts background jobs with SIGINT ignored, and children inherit that: the tests
# that interrupt a program would wait for ever.
signal.signal(signal.SIGINT, signal.default_int_handler)

# The first example of a property may wait for loops to be compiled.
hypothesis.settings.register_profile("no deadline", deadline=None)
hypothesis.settings.load_profile("no deadline")


@pytest.fixture
def register(monkeypatch: pytest.MonkeyPatch) -> Callable[[str, type[AnyCodec]], None]:
    """Return a function that registers a codec for one test."""
    known = registry.available()
    names: list[str] = []
    monkeypatch.setattr(registry, "_classes", dict(registry._classes))
    monkeypatch.setattr(registry, "_loaded", dict(registry._loaded))
    for module in (codecs, registry):
        monkeypatch.setattr(module, "available", lambda: (*known, *names))

    def add(name: str, cls: type[AnyCodec]) -> None:
        names.append(name)
        registry.register(name)(cls)

    return add


@pytest.fixture
def cased(register: Callable[[str, type[AnyCodec]], None]) -> str:
    """Return the name of a codec like `text/bytes` that has the methods "keep" and "upper"."""
    fields = {"name": "text/cased", "methods": ("keep", "upper")}

    class CasedCodec(ByteCodec):
        @classmethod
        def describe(cls) -> CodecSpec:
            return replace(ByteCodec.describe(), **fields)

        def _encode(self, item: Text, settings: Settings) -> Tokens:
            upper = settings.method == "upper"
            return super()._encode(Text(item.data.upper()) if upper else item, settings)

    register("text/cased", CasedCodec)
    return "text/cased"


@dataclass
class Crew:
    """What the prior of the codec `name` was seen doing, chunk by chunk.

    It waits at each chunk until `at_once` of them are in work at the same time, though not
    for ever; `most` is how many there were. `broken` are first bytes of chunks, and errors.
    """

    name: str = "text/crewed"
    threads: set[str] = field(default_factory=set)
    at_once: int = 1
    most: int = 0
    broken: dict[int, Exception] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._ready = threading.Condition()
        self._here = 0

    def meet(self) -> None:
        """Wait until `at_once` threads are here, or for half a second."""
        with self._ready:
            self.threads.add(threading.current_thread().name)
            self._here += 1
            self.most = max(self.most, self._here)
            self._ready.notify_all()
            self._ready.wait_for(lambda: self.most >= self.at_once, 0.5)
            self._here -= 1


@pytest.fixture
def crew(register: Callable[[str, type[AnyCodec]], None]) -> Crew:
    """Register a codec like `text/bytes` whose prior stores bytes, on threads."""
    crew = Crew()

    class CrewedPrior(Prior):
        fingerprint = "0123456789abcdef"
        parallel: ClassVar[bool] = True

        def encode(self, ids: NDArray[np.int32], span: Span) -> bytes:
            crew.meet()
            if (first := int(ids[0, 0])) in crew.broken:
                raise crew.broken[first]
            return ids[0].astype(np.uint8).tobytes()

        def decode(self, data: bytes, span: Span) -> NDArray[np.int32]:
            crew.meet()
            if data[0] in crew.broken:
                raise crew.broken[data[0]]
            return np.frombuffer(data, np.uint8)[None].astype(np.int32)

    class CrewedCodec(ByteCodec):
        chunk_positions: ClassVar[int] = 100

        def __init__(self) -> None:
            self.spec = self.describe()
            self.prior = CrewedPrior()

        @classmethod
        def describe(cls) -> CodecSpec:
            prior = CrewedPrior.fingerprint
            return replace(ByteCodec.describe(), name=crew.name, prior=prior)

    register(crew.name, CrewedCodec)
    return crew
