"""What all tests need."""

from __future__ import annotations

import signal
import threading
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import ClassVar, Self

import hypothesis
import numpy as np
import pytest
from numpy.typing import NDArray

from omnicodec import codecs
from omnicodec.codecs import (
    CodecSpec,
    CorruptStream,
    Image,
    InvalidInput,
    Media,
    Text,
    Tokens,
    Video,
    registry,
)
from omnicodec.codecs.codec import Codec, Mask, Settings
from omnicodec.codecs.frame_codec import FrameCodec
from omnicodec.codecs.prior import Prior, Span
from omnicodec.codecs.prior.soft import SoftPrior
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
    monkeypatch.setattr(registry, "_loaded", dict(registry._loaded))
    for module in (codecs, registry):
        monkeypatch.setattr(module, "available", lambda: (*known, *names))

    def add(name: str, cls: type[AnyCodec]) -> None:
        names.append(name)
        # Nothing but this is undone: modules that the test is the first to import stay known.
        monkeypatch.setitem(registry._classes, name, cls)

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


class ZlibPrior(Prior):
    fingerprint = "00000000000000aa"

    def encode(self, ids: NDArray[np.int32], span: Span) -> bytes:
        return zlib.compress(ids.astype(np.uint8).tobytes(), 9)

    def decode(self, data: bytes, span: Span) -> NDArray[np.int32]:
        try:
            ids = np.frombuffer(zlib.decompress(data), np.uint8)
        except zlib.error as e:
            raise CorruptStream(str(e)) from e
        return ids.reshape(-1, len(span)).astype(np.int32)


class BlockCodec(Codec[Image]):
    """Mean colours of squares of pixels, rounded the more the lower the quality.

    With effort "best" to the nearest, else down.
    """

    media_type: ClassVar[type[Media]] = Image
    on_device: ClassVar[bool] = False
    name: ClassVar[str] = "image/blocks"
    side: ClassVar[int] = 2
    steps: ClassVar[dict[int, int]] = {10: 96, 40: 48, 70: 24, 100: 6}

    def __init__(self) -> None:
        self.spec = self.describe()
        self.prior = ZlibPrior()

    @classmethod
    def describe(cls) -> CodecSpec:
        return CodecSpec(
            name=cls.name,
            version=1,
            modality="image",
            summary="mean colours",
            fingerprint="00000000000000bb",
            codebook_sizes=(256, 256, 256),
            covers={"height": cls.side, "width": cls.side},
            prior=ZlibPrior.fingerprint,
            extent=("height", "width"),
            grid_rank=2,
            qualities=tuple(cls.steps),
            efforts=("fast", "best"),
        )

    @classmethod
    def open(cls, device: str) -> Self:
        return cls()

    def expected_grid(self, extent: Mapping[str, int], positions: int) -> tuple[int, ...]:
        if extent["height"] < 0 or extent["width"] < 0:
            raise InvalidInput("no picture has such a size")
        return -(-extent["height"] // self.side), -(-extent["width"] // self.side)

    def _encode(self, item: Image, settings: Settings) -> Tokens:
        extent = {"height": item.height, "width": item.width}
        grid = self.expected_grid(extent, 0)
        room = [(0, n * self.side - size) for n, size in zip(grid, extent.values(), strict=True)]
        pixels = np.pad(item.pixels, (*room, (0, 0)), "edge").astype(float)
        means = pixels.reshape(grid[0], self.side, grid[1], self.side, 3).mean((1, 3))
        step = self.steps.get(settings.quality or 40, 16)
        rounded = np.round if settings.effort == "best" else np.floor
        ids = np.clip(rounded(means / step) * step, 0, 255).astype(np.int32)
        return Tokens(self.name, self.spec.fingerprint, ids.reshape(-1, 3).T.copy(), grid, extent)

    def _decode(self, tokens: Tokens, missing: Mask | None) -> Image:
        cells = tokens.ids.T.reshape(*tokens.grid, 3).astype(np.uint8)
        pixels = cells.repeat(self.side, 0).repeat(self.side, 1)
        return Image(pixels[: tokens.extent["height"], : tokens.extent["width"]].copy())


class CoarseCodec(BlockCodec):
    name: ClassVar[str] = "image/coarse"
    side: ClassVar[int] = 4
    steps: ClassVar[dict[int, int]] = {}


@pytest.fixture
def blocks(register: Callable[[str, type[AnyCodec]], None]) -> tuple[str, str]:
    """Return the names of a codec with qualities and of one without, both without a network."""
    for cls in (BlockCodec, CoarseCodec):
        register(cls.name, cls)
    return BlockCodec.name, CoarseCodec.name


class StoredPrior(Prior):
    fingerprint = "00000000000000ab"

    def encode(self, ids: NDArray[np.int32], span: Span) -> bytes:
        return ids.astype(np.uint8).tobytes()

    def decode(self, data: bytes, span: Span) -> NDArray[np.int32]:
        ids = np.frombuffer(data, np.uint8)
        if ids.size != len(span):
            raise CorruptStream("a chunk of another length")
        return ids.reshape(1, -1).astype(np.int32)


class FilmCodec(FrameCodec):
    """Grey levels of each pixel; lost ones are black."""

    name: ClassVar[str] = "video/plain"
    media_type: ClassVar[type[Media]] = Video
    on_device: ClassVar[bool] = False
    chunk_positions: ClassVar[int] = 48

    def __init__(self) -> None:
        self.spec, self.prior = self.describe(), StoredPrior()

    @classmethod
    def describe(cls) -> CodecSpec:
        return CodecSpec(
            name=cls.name,
            version=1,
            modality="video",
            summary="grey levels",
            fingerprint="00000000000000cd",
            codebook_sizes=(256,),
            covers={"frames": 1, "height": 1, "width": 1},
            prior=StoredPrior.fingerprint,
            extent=("frames", "height", "width", "numerator", "denominator"),
            grid_rank=3,
        )

    @classmethod
    def open(cls, device: str) -> Self:
        return cls()

    def expected_grid(self, extent: Mapping[str, int], positions: int) -> tuple[int, ...]:
        if min(extent.values()) < 0 or not extent["denominator"]:
            raise InvalidInput("no video has such a size")
        return extent["frames"], extent["height"], extent["width"]

    def _encode(self, item: Video, settings: Settings) -> Tokens:
        shape = item.frames.shape[:3]
        values = (*shape, item.fps.numerator, item.fps.denominator)
        extent = dict(zip(self.spec.extent, values, strict=True))
        ids = item.frames[..., 0].reshape(1, -1).astype(np.int32)
        return Tokens(self.name, self.spec.fingerprint, ids, shape, extent)

    def _decode(self, tokens: Tokens, missing: Mask | None) -> Video:
        return self.decode_frames(tokens, range(tokens.extent["frames"]))

    def positions_of(
        self, frames: range, grid: tuple[int, ...], extent: Mapping[str, int]
    ) -> Sequence[range]:
        size = grid[1] * grid[2]
        return [range(size * frames.start, size * frames.stop)]

    def decode_frames(self, tokens: Tokens, frames: range, missing: Mask | None = None) -> Video:
        grey = tokens.ids.reshape(*tokens.grid, 1)[frames.start : frames.stop].astype(np.uint8)
        fps = Fraction(tokens.extent["numerator"], tokens.extent["denominator"])
        return Video(grey.repeat(3, 3), fps)


@pytest.fixture
def film_codec(register: Callable[[str, type[AnyCodec]], None]) -> str:
    """Return the name of a codec of video that keeps grey frames exactly, without a network."""
    register(FilmCodec.name, FilmCodec)
    return FilmCodec.name


class SoftCodec(BlockCodec):
    """Mean colours of squares of pixels, as they are: real values, as continuous tokenizers have.

    Lost ones are black.
    """

    name: ClassVar[str] = "image/soft"

    def __init__(self) -> None:
        self.spec = self.describe()
        self.prior = SoftPrior(3)

    @classmethod
    def describe(cls) -> CodecSpec:
        return replace(
            super().describe(),
            summary="mean colours as real values",
            fingerprint="00000000000000dd",
            codebook_sizes=(),
            soft_width=3,
            prior=SoftPrior(3).fingerprint,
            extent=("height", "width", "bits"),
            qualities=(16, 32),
            efforts=(),
        )

    def _encode(self, item: Image, settings: Settings) -> Tokens:
        bits = settings.quality or 32
        extent = {"height": item.height, "width": item.width, "bits": bits}
        grid = self.expected_grid(extent, 0)
        room = [(0, n * self.side - size) for n, size in zip(grid, item.pixels.shape, strict=False)]
        pixels = np.pad(item.pixels, (*room, (0, 0)), "edge").astype(np.float32)
        means = pixels.reshape(grid[0], self.side, grid[1], self.side, 3).mean((1, 3)) / 255
        soft = means.reshape(-1, 3).astype(f"f{bits // 8}")
        ids = np.zeros((0, len(soft)), np.int32)
        return Tokens(self.name, self.spec.fingerprint, ids, grid, extent, soft)

    def _decode(self, tokens: Tokens, missing: Mask | None) -> Image:
        assert tokens.soft is not None
        cells = np.clip(np.rint(tokens.soft.astype(np.float32) * 255), 0, 255).astype(np.uint8)
        pixels = cells.reshape(*tokens.grid, 3).repeat(self.side, 0).repeat(self.side, 1)
        return Image(pixels[: tokens.extent["height"], : tokens.extent["width"]].copy())


@pytest.fixture
def soft_codec(register: Callable[[str, type[AnyCodec]], None]) -> str:
    """Return the name of a codec with three real values at a position, without a network."""
    register(SoftCodec.name, SoftCodec)
    return SoftCodec.name
