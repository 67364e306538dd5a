"""The Codec interface: media in, tokens out, and back."""

from __future__ import annotations

import math
import os
from abc import ABC, abstractmethod
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, Final, Generic, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from omnicodec.codecs.errors import FingerprintMismatch, InvalidInput
from omnicodec.codecs.media import Media
from omnicodec.codecs.threads import in_order
from omnicodec.codecs.tokens import Tokens
from omnicodec.codecs.work import Work

if TYPE_CHECKING:
    from omnicodec.codecs.prior import Prior

M = TypeVar("M", bound=Media)

Mask = NDArray[np.bool_]

SOFT_CHUNK: Final = 1 << 20
"""Real values of a chunk of a stream, at most: 4 MiB before they are coded."""


@dataclass(frozen=True, kw_only=True)
class CodecSpec:
    """Facts about a codec that a trainer needs before running it.

    `codebook_sizes` has one entry per parallel codebook. A continuous tokenizer has none, but
    `soft_width` real values at each position; its extent names `bits`, 16 or 32 of each value.
    `extent` names the integers of `Tokens.extent` in the order in which streams store them,
    `usual` has the value of those that nearly all items have alike. `covers` says what one
    position covers (`{"height": 16, "width": 16}` pixels, `{"bytes": 1}`).
    `fingerprint` is SHA-256 over configuration and weights, cut to 16 hex digits; `prior` is
    that of the codec's prior, which streams carry as well. `resumable` says that encoding may
    take minutes, and then reports to `Settings.work` and heeds it. `qualities`, `efforts` and
    `methods` are what `Settings` may name.
    """

    name: str
    version: int
    modality: str
    summary: str
    fingerprint: str
    codebook_sizes: tuple[int, ...]
    covers: Mapping[str, float]
    soft_width: int = 0
    prior: str = ""
    extent: tuple[str, ...] = ()
    usual: Mapping[str, int] = field(default_factory=dict)
    grid_rank: int = 1
    lossless: bool = False
    streaming: bool = False
    resumable: bool = False
    qualities: tuple[int, ...] = ()
    efforts: tuple[str, ...] = ()
    methods: tuple[str, ...] = ()
    weight_bytes: int = 0
    citation: str = ""
    licence: str = "Apache-2.0"
    details: Mapping[str, str] = field(default_factory=dict)

    @property
    def per_position(self) -> int:
        """Numbers at each position: one id of each codebook, or the real values."""
        return self.soft_width or len(self.codebook_sizes)


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How to encode, for the codecs that leave a choice; None is the codec's default.

    `quality` is one of `CodecSpec.qualities`, larger is better; `effort` one of
    `CodecSpec.efforts`; `method` one of `CodecSpec.methods`: ways to choose an item's tokens,
    all of which are decoded alike. The first is the default. `work` is for resumable codecs,
    `width` as in `Codec.encode`.
    """

    quality: int | None = None
    effort: str | None = None
    method: str | None = None
    work: Work = field(default_factory=Work)
    width: int = 1


def listed(known: Sequence[int] | Sequence[str]) -> str:
    """Return settings as people read them: one by one, or as a range of whole numbers."""
    first, last = (known[0], known[-1]) if known else (0, 0)
    if isinstance(first, int) and isinstance(last, int) and last - first + 1 == len(known) > 4:
        return f"{first} to {last}"
    return ", ".join(map(str, known))


class Codec(ABC, Generic[M]):
    """Maps media of one modality to `Tokens` and back.

    `encode` and `decode` take and give batches, and a batch may be split anywhere without
    changing one token: implementations work item by item or in shapes that the batch does
    not influence. An instance may be shared between threads.
    """

    spec: CodecSpec
    prior: Prior
    media_type: ClassVar[type[Media]]

    on_device: ClassVar[bool] = True
    """Whether a network runs on a torch device; others are opened for "cpu", without torch."""

    parallel: ClassVar[bool] = False
    """Whether items are worth a thread each: working on one takes long and releases the GIL."""

    batched: ClassVar[bool] = False
    """Whether many items at once are quicker than one by one, whatever they are."""

    width: int = 1
    """Items that the network runs side by side, unless told otherwise: 1 on a CPU."""

    chunk_positions: ClassVar[int] = 1 << 16
    """Positions of a chunk of a stream: the unit of seeking, and of what damage destroys.

    Of real values there are never more than `SOFT_CHUNK` in one.
    """

    @classmethod
    @abstractmethod
    def describe(cls) -> CodecSpec:
        """Return the spec of the codec that would be loaded, without loading a network."""

    @classmethod
    @abstractmethod
    def open(cls, device: str) -> Self:
        """Return the codec, ready to run on a torch device or on "cpu"."""

    @classmethod
    def from_folder(cls, folder: str | os.PathLike[str], *, device: str = "cpu") -> Self:
        """Return the codec of one's own weights: the `export/` that `omnicodec train` left.

        Raises `InvalidInput` when they are not there, or for a codec that has no such way.
        """
        raise InvalidInput(f"{os.fspath(folder)!r}: {cls.__name__} is not opened from a folder")

    @abstractmethod
    def _encode(self, item: M, settings: Settings) -> Tokens:
        """Return the tokens of one item; the settings are known to be this codec's."""

    def _encode_all(self, items: Sequence[M], settings: Settings) -> list[Tokens]:
        """Return the tokens of each item; codecs that work on several at once override it."""
        work = in_order(lambda item: self._encode(item, settings), items, parallel=self.parallel)
        return list(work)

    @abstractmethod
    def _decode(self, tokens: Tokens, missing: Mask | None) -> M:
        """Return the item of checked tokens; `missing` marks positions to fill in."""

    def _decode_all(
        self, tokens: Sequence[Tokens], missing: Sequence[Mask | None], width: int
    ) -> list[M]:
        """Return the items of checked tokens; codecs that work on several at once override it."""
        pairs = zip(tokens, missing, strict=True)
        return list(in_order(lambda pair: self._decode(*pair), pairs, parallel=self.parallel))

    def shape_class(self, item: M, settings: Settings) -> Hashable | None:
        """Return what items have in common that the network can encode side by side.

        None is for an item that runs alone. Nothing is checked or computed here.
        """
        return None

    def tokens_class(self, tokens: Tokens, width: int) -> Hashable | None:
        """Return the same for decoding; the tokens need not be this codec's."""
        return None

    @abstractmethod
    def expected_grid(self, extent: Mapping[str, int], positions: int) -> tuple[int, ...]:
        """Return the grid that an item of this extent has.

        Raises `InvalidInput` for an extent that no item can have and `LimitExceeded` for
        one that is too large. Nothing is allocated here: streams and requests are checked
        with it before anything else. `positions` settles what the extent leaves open.
        """

    def chunk_size(self, grid: tuple[int, ...]) -> int:
        """Return the positions of a chunk for an item with this grid."""
        if not self.spec.soft_width:
            return self.chunk_positions
        return max(1, min(self.chunk_positions, SOFT_CHUNK // self.spec.soft_width))

    def encode(
        self,
        items: Sequence[M],
        *,
        quality: int | None = None,
        effort: str | None = None,
        method: str | None = None,
        work: Work | None = None,
        width: int | None = None,
    ) -> list[Tokens]:
        """Return the tokens of each item.

        `work` watches and steers the encode of one item by a resumable codec; others do not look
        at it. `width` items run side by side, for codecs and devices where that is quicker (None:
        as many as the codec finds right): always so many, with zeros for those that are missing,
        because the last bit of a float depends on the shape that it was computed in. Raises
        `InvalidInput` when an item is not of this codec's modality, or for a quality, effort or
        method that the codec does not have, and `Cancelled` when `work` says so.
        """
        settings = self.settings(
            quality=quality, effort=effort, method=method, work=work, width=width
        )
        if work is not None and len(items) > 1:
            raise InvalidInput(f"work is about one item, not {len(items)}")
        for item in items:
            if not isinstance(item, self.media_type):
                raise InvalidInput(
                    f"{self.spec.name} encodes {self.media_type.__name__}, "
                    f"not {type(item).__name__}"
                )
        return self._encode_all(items, settings)

    def takes_minutes(self, settings: Settings) -> bool:
        """Return whether encoding an item may take minutes, and so should keep nobody waiting."""
        return self.spec.resumable

    def settings(
        self,
        *,
        quality: int | None = None,
        effort: str | None = None,
        method: str | None = None,
        work: Work | None = None,
        width: int | None = None,
    ) -> Settings:
        """Return settings of `encode`; raises `InvalidInput` for those that there are not."""
        spec = self.spec
        for what, value, known in (
            ("quality", quality, spec.qualities),
            ("effort", effort, spec.efforts),
            ("method", method, spec.methods),
        ):
            if value is not None and value not in known:
                choices = listed(known) or "none, it has one fixed setting"
                raise InvalidInput(f"{spec.name} has no {what} {value}; known: {choices}")
        return Settings(
            quality=quality,
            effort=effort,
            method=method,
            work=work or Work(),
            width=self.width if width is None else width,
        )

    def decode(
        self,
        tokens: Sequence[Tokens],
        *,
        missing: Sequence[Mask | None] | None = None,
        width: int | None = None,
    ) -> list[M]:
        """Return the media of each item's tokens, at the original's own size.

        `missing` may hold a boolean mask of shape `(N,)` per item: positions that were
        lost, filled in as well as the codec can; `width` is as in `encode`. Raises
        `FingerprintMismatch` for tokens of another model, `InvalidInput` for ids out of range or
        of the wrong shape.
        """
        masks = list(missing) if missing is not None else [None] * len(tokens)
        if len(masks) != len(tokens):
            raise InvalidInput(f"{len(masks)} masks were given for {len(tokens)} items")
        for item, mask in zip(tokens, masks, strict=True):
            self.check(item)
            if mask is None:
                continue
            fits = isinstance(mask, np.ndarray) and mask.dtype == np.bool_
            if not fits or mask.shape != (len(item),):
                raise InvalidInput(f"a mask is a numpy array of bool, of shape ({len(item)},)")
        return self._decode_all(tokens, masks, self.width if width is None else width)

    def token_bits(self, tokens: Tokens) -> float:
        """Return the bits of tokens as they are, before entropy coding.

        A codec with qualities may leave its last codebooks out of the lower ones: rows of
        zeros, which are not counted.
        """
        if tokens.soft is not None:
            return 8.0 * tokens.soft.nbytes
        sizes = self.spec.codebook_sizes
        if self.spec.qualities:
            used = np.flatnonzero(tokens.ids.any(1))
            sizes = sizes[: int(used[-1]) + 1] if used.size else ()
        return len(tokens) * sum(math.log2(size) for size in sizes)

    def with_prior(self, fingerprint: str) -> Self:
        """Return this codec with the prior of that fingerprint: itself, unless it knows others.

        Streams are read with the prior that they were written with.
        """
        return self

    def warm(self) -> None:
        """Compile ahead what the first item would wait for: what the prior does, and the codec."""
        self.prior.warm()

    def check(self, tokens: Tokens) -> None:
        """Raise the error that says why this codec cannot decode `tokens`, if any."""
        spec = self.spec
        if tokens.codec != spec.name:
            raise InvalidInput(f"tokens of {tokens.codec} were given to {spec.name}")
        if tokens.fingerprint != spec.fingerprint:
            raise FingerprintMismatch(
                f"tokens were made by {spec.name} {tokens.fingerprint}, "
                f"this is {spec.name} {spec.fingerprint}"
            )
        books = len(spec.codebook_sizes)
        if tokens.ids.shape[0] != books:
            raise InvalidInput(f"{spec.name} has {books} codebooks, not {tokens.ids.shape[0]}")
        self.check_layout(tokens.grid, tokens.extent)
        self._check_soft(tokens)
        if len(tokens):
            for book, size in enumerate(spec.codebook_sizes):
                row = tokens.ids[book]
                wrong = np.flatnonzero((row < 0) | (row >= size))
                if wrong.size:
                    raise InvalidInput(
                        f"token {int(row[wrong[0]])} at position {int(wrong[0])} is not in "
                        f"0..{size - 1} (codebook {book} of {spec.name})"
                    )

    def _check_soft(self, tokens: Tokens) -> None:
        """Raise `InvalidInput` unless there are real values just where the codec has them."""
        spec, soft = self.spec, tokens.soft
        if soft is None:
            if spec.soft_width:
                raise InvalidInput(f"{spec.name} has real-valued tokens, and none were given")
            return
        if soft.shape[1] != spec.soft_width:
            raise InvalidInput(
                f"{spec.name} has {spec.soft_width} real values at a position, not {soft.shape[1]}"
            )
        if 8 * soft.itemsize != tokens.extent["bits"]:
            raise InvalidInput(
                f"the extent says {tokens.extent['bits']} bits, the tokens are {soft.dtype}"
            )
        if not np.isfinite(soft).all():
            raise InvalidInput("real-valued tokens must be finite")

    def check_layout(self, grid: Sequence[int], extent: Mapping[str, int]) -> None:
        """Raise `InvalidInput` unless grid and extent are those of one item."""
        spec = self.spec
        if len(grid) != spec.grid_rank:
            raise InvalidInput(f"{spec.name} has grids of rank {spec.grid_rank}, not {len(grid)}")
        if set(extent) != set(spec.extent):
            raise InvalidInput(f"{spec.name} needs the extent {spec.extent}, not {tuple(extent)}")
        if spec.soft_width and extent["bits"] not in (16, 32):
            raise InvalidInput(f"real values have 16 or 32 bits, not {extent['bits']}")
        positions = 1
        for n in grid:
            positions *= int(n)
        expected = self.expected_grid(extent, positions)
        if tuple(grid) != expected:
            raise InvalidInput(
                f"grid {tuple(grid)} does not fit the extent {dict(extent)}: expected {expected}"
            )


class Encoder(ABC, Generic[M]):
    """The running state of one stream that is being encoded."""

    @abstractmethod
    def push(self, piece: M) -> Tokens:
        """Take the next piece and return the tokens that became final."""

    @abstractmethod
    def finish(self) -> Tokens:
        """Return the tokens that were still held back; the encoder is spent."""


class Decoder(ABC, Generic[M]):
    """The running state of one stream that is being decoded."""

    @abstractmethod
    def push(self, tokens: Tokens) -> M:
        """Take the next tokens and return the media that became final.

        The first integer of their extent may tell of less than they hold, in live streams
        of nothing: then only what is certainly there becomes final. Before `finish` it has
        to add up, which tokens of 0 positions can see to.
        """

    @abstractmethod
    def finish(self) -> M:
        """Return the media that were still held back; the decoder is spent."""


class StreamingCodec(Codec[M]):
    """A codec that also works piece by piece.

    Whatever the pieces, the concatenated results equal the offline result exactly. Along a
    stream the first axis of the grid and the first integer of the extent grow; the others
    stay as they are.
    """

    @abstractmethod
    def open_encoder(self, *, quality: int | None = None, effort: str | None = None) -> Encoder[M]:
        """Return the encoder of a new stream.

        Raises `InvalidInput` for a quality or an effort that the codec does not have.
        """

    @abstractmethod
    def open_decoder(self) -> Decoder[M]:
        """Return the decoder of a new stream."""

    @abstractmethod
    def extent_of(self, steps: int, extent: Mapping[str, int]) -> dict[str, int]:
        """Return the largest extent of at most `steps` along the first axis of the grid.

        Of a stream that was cut off, this is what the whole chunks hold. The other integers
        are those of `extent`.
        """

    @abstractmethod
    def conceal(self, ids: NDArray[np.int32], missing: Mask) -> NDArray[np.int32]:
        """Return ids `(K, N)` with something unobtrusive where `missing` says that none are."""
