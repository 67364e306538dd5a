"""What all adapters share: spec, prior, batching by exact shape, and the device."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from copy import copy
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from omnicodec.codecs.codec import Codec, CodecSpec, Mask, Settings
from omnicodec.codecs.errors import UnknownCodec
from omnicodec.codecs.hub.files import Snapshot
from omnicodec.codecs.hub.libraries import library_errors
from omnicodec.codecs.hub.prior import current_prior, find_prior
from omnicodec.codecs.image._side_by_side import side_by_side, width_on
from omnicodec.codecs.media import Media
from omnicodec.codecs.prior import Prior
from omnicodec.codecs.prior.soft import SoftPrior
from omnicodec.codecs.tokens import Tokens
from omnicodec.codecs.work import Work

if TYPE_CHECKING:
    import torch

M = TypeVar("M", bound=Media)
Array = NDArray[Any]

VERSION = 1


class HubCodec(Codec[M]):
    """A published codec: its spec follows from what lies in a folder, and its prior is measured."""

    modality: ClassVar[str]
    citation: ClassVar[str]

    def __init__(self, snapshot: Snapshot, spec: CodecSpec, device: str) -> None:
        """Open the codec of a folder, whose spec is known.

        Raises `InvalidInput` and `Unavailable`.
        """
        self.spec = spec
        self._device = device
        self.prior = _prior(spec.fingerprint, spec.codebook_sizes, spec.soft_width)
        with library_errors(snapshot.name):
            self._open(snapshot)

    @classmethod
    def describe(cls) -> CodecSpec:
        raise UnknownCodec(f"{cls.__name__} has no weights of its own: name them, as hf:FOLDER")

    @classmethod
    def open(cls, device: str) -> Self:
        raise UnknownCodec(f"{cls.__name__} has no weights of its own: name them, as hf:FOLDER")

    @classmethod
    def spec_of(cls, snapshot: Snapshot) -> CodecSpec:
        """Return the spec of the codec in a folder, without loading its network."""
        with library_errors(snapshot.name):
            facts = cls._facts_of(snapshot)
        width = facts.get("soft_width", 0)
        prior = _prior(snapshot.fingerprint, facts["codebook_sizes"], width)
        if snapshot.revision:
            facts["details"] = {"revision": snapshot.revision, **facts.get("details", {})}
        return CodecSpec(
            **{
                "name": snapshot.name,
                "version": VERSION,
                "modality": cls.modality,
                "fingerprint": snapshot.fingerprint,
                "prior": prior.fingerprint,
                "weight_bytes": snapshot.weight_bytes,
                "citation": cls.citation,
                "licence": snapshot.licence,
                **facts,
            }
        )

    @classmethod
    def variant(cls, snapshot: Snapshot) -> type[HubCodec[M]]:
        """Return the class for a folder of this family: one that streams where a network can."""
        return cls

    def with_prior(self, fingerprint: str) -> Self:
        """Return this codec with the prior of that fingerprint, where it is known here."""
        if fingerprint == self.prior.fingerprint:
            return self
        prior = find_prior(self.spec.fingerprint, self.spec.codebook_sizes, fingerprint)
        if prior is None:
            return self
        other = copy(self)
        other.prior, other.spec = prior, replace(self.spec, prior=fingerprint)
        return other

    @abstractmethod
    def _open(self, snapshot: Snapshot) -> None:
        """Read what encoding needs; spec, prior and device are there."""

    @classmethod
    @abstractmethod
    def _facts_of(cls, snapshot: Snapshot) -> dict[str, Any]:
        """Return the fields of the spec that the files settle.

        These are `summary`, `codebook_sizes`, `covers`, and where they are not the defaults
        `soft_width`, `extent`, `grid_rank`, `qualities`, `methods`, `lossless`, `streaming` and
        `details`.
        """


def _prior(fingerprint: str, sizes: Sequence[int], soft_width: int) -> Prior:
    """Return the prior of a codec; real values have no codes to count."""
    return SoftPrior(soft_width) if soft_width else current_prior(fingerprint, sizes)


class HubNetwork(HubCodec[M]):
    """A published network. An adapter says what is special about its family in the methods below.

    An item is cut into pieces, arrays that go through the network each by itself, by
    `_pieces`; those of one shape run side by side, whatever item they are of, always `width` of
    them. So codes never depend on what else is in a batch. On a CPU the width is 1.
    """

    _code_type: ClassVar[type[np.generic]] = np.int64
    """Type of what `_decode_batch` takes."""

    def _open(self, snapshot: Snapshot) -> None:
        self.config = self._configuration(snapshot)
        self.width = width_on(self._device)
        network: Any = self._load(snapshot, self.config)
        self._model: Any = network.eval().requires_grad_(False).to(self._device)
        self._prepare()

    @classmethod
    def _facts_of(cls, snapshot: Snapshot) -> dict[str, Any]:
        return cls._facts(cls._configuration(snapshot))

    # What an adapter says.

    @classmethod
    def _configuration(cls, snapshot: Snapshot) -> Any:
        """Return the configuration, best as the library's own class, which knows its defaults."""
        return snapshot.config

    @classmethod
    @abstractmethod
    def _facts(cls, config: Any) -> dict[str, Any]:
        """Return the fields of the spec that the configuration settles, as `_facts_of` does."""

    @classmethod
    @abstractmethod
    def _load(cls, snapshot: Snapshot, config: Any) -> torch.nn.Module:
        """Return the network with its weights, in float32, on the CPU."""

    def _prepare(self) -> None:  # most adapters have nothing to do
        """Set what encoding needs; `config`, `spec` and `_model` are there."""

    @abstractmethod
    def _pieces(self, item: M) -> Iterable[Array]:
        """Yield the arrays of an item that go through the network each by itself."""

    @abstractmethod
    def _encode_batch(self, batch: torch.Tensor, books: int) -> torch.Tensor:
        """Return codes `(B, books, ...)` of B pieces of one shape, on the codec's device."""

    @abstractmethod
    def _tokens(self, item: M, codes: Sequence[Array], books: int) -> Tokens:
        """Return the tokens of an item; `codes` are those of its pieces, in order."""

    @abstractmethod
    def _code_pieces(self, tokens: Tokens, ids: Array) -> Iterable[Array]:
        """Yield the codes that go through the network each by itself, as `_encode_batch` has them.

        `ids` are the rows of the tokens, `_rows`, with something where they were lost.
        """

    @abstractmethod
    def _decode_batch(self, codes: torch.Tensor) -> torch.Tensor:
        """Return what the network makes of codes `(B, books, ...)`, on its device."""

    @abstractmethod
    def _media(self, tokens: Tokens, found: list[Array]) -> M:
        """Return the item; `found` are what `_decode_batch` made of its pieces, in order.

        It may be emptied, so that a long item is not there twice.
        """

    def _encoder_input(self, batch: torch.Tensor) -> torch.Tensor:
        """Return a batch of pieces, on the codec's device, as `_encode_batch` takes it."""
        return batch

    def _decoder_output(self, values: torch.Tensor) -> torch.Tensor:
        """Return what `_decode_batch` gave as `_media` takes it, still on the device."""
        return values

    def _conceal(self, tokens: Tokens, missing: Mask) -> Array:
        """Return the rows with something in place of lost positions: the last before each."""
        known = np.where(missing, 0, np.arange(missing.size))
        return self._rows(tokens)[:, np.maximum.accumulate(known)]

    def _rows(self, tokens: Tokens) -> Array:
        """Return what tokens hold, `(K, N)`: their ids."""
        return tokens.ids

    def _made(
        self, codes: Array, books: int, grid: tuple[int, ...], extent: Mapping[str, int]
    ) -> Tokens:
        """Return the tokens that hold codes `(books, N)`."""
        return Tokens(self.spec.name, self.spec.fingerprint, self.padded([codes]), grid, extent)

    # What follows from that.

    def _encode(self, item: M, settings: Settings) -> Tokens:
        return self._encode_all([item], settings)[0]

    def _encode_all(self, items: Sequence[M], settings: Settings) -> list[Tokens]:
        books = self.books(settings)
        found = self._run(
            map(self._pieces, items),
            settings.width,
            lambda batch: self._run_encoder(batch, books),
            settings.work,
        )
        pairs = zip(items, found, strict=True)
        return [self._tokens(item, codes, books) for item, codes in pairs]

    def _decode(self, tokens: Tokens, missing: Mask | None) -> M:
        return self._decode_all([tokens], [missing], self.width)[0]

    def _decode_all(
        self, tokens: Sequence[Tokens], missing: Sequence[Mask | None], width: int
    ) -> list[M]:
        def codes(item: Tokens, mask: Mask | None) -> Iterable[Array]:
            lost = mask is not None and mask.any()
            ids = self._conceal(item, mask) if mask is not None and lost else self._rows(item)
            return self._code_pieces(item, ids)

        found = self._run(map(codes, tokens, missing), width, self._run_decoder, Work())
        return [self._media(*pair) for pair in zip(tokens, found, strict=True)]

    def books(self, settings: Settings) -> int:
        """Return how many codebooks are used: a quality is their number; all, if none is named."""
        return settings.quality or len(self.spec.codebook_sizes)

    def padded(self, codes: Sequence[Array]) -> NDArray[np.int32]:
        """Return codes `(books, n)` of pieces, one behind the other, as ids `(K, N)`.

        Codebooks that are not used are rows of zeros.
        """
        ids = np.zeros((len(self.spec.codebook_sizes), sum(c.shape[1] for c in codes)), np.int32)
        if codes:
            ids[: len(codes[0])] = np.concatenate(codes, 1)
        return ids

    def _run(
        self,
        items: Iterable[Iterable[Array]],
        width: int,
        run: Callable[[Array], Array],
        work: Work,
    ) -> list[list[Array]]:
        """Return for each item what `run` makes of each of its pieces."""
        owners: list[tuple[int, int]] = []
        found: list[dict[int, Array]] = []

        def pieces() -> Iterator[Array]:
            for row, parts in enumerate(items):
                found.append({})
                for place, part in enumerate(parts):
                    owners.append((row, place))
                    yield part

        for number, result in side_by_side(pieces(), width, run):
            work.check()
            row, place = owners[number]
            found[row][place] = result
        return [[parts[place] for place in sorted(parts)] for parts in found]

    def _run_encoder(self, batch: Array, books: int) -> Array:
        import torch

        with torch.inference_mode():
            x = self._encoder_input(torch.from_numpy(batch).to(self._device))
            found: Array = self._encode_batch(x, books).cpu().numpy()
        return found

    def _run_decoder(self, batch: Array) -> Array:
        import torch

        with torch.inference_mode():
            x = torch.from_numpy(batch.astype(self._code_type)).to(self._device)
            found: Array = self._decoder_output(self._decode_batch(x)).cpu().numpy()
        return found
