"""The exact prior of any codes: the mixer over their neighbours."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from omnicodec.codecs.errors import CorruptStream, InvalidInput
from omnicodec.codecs.prior.base import Prior, Span
from omnicodec.codecs.prior.mixer import coder, kernel
from omnicodec.codecs.prior.mixer import format as fmt
from omnicodec.codecs.prior.mixer.schema import Schema
from omnicodec.codecs.prior.mixer.state import AT, Model, State, Tensors, model, open_state
from omnicodec.models import weights

NO_BYTES: Final = np.zeros(0, np.uint8)
NO_INTEGERS: Final = np.zeros(0, np.int32)
NO_EXTRA: Final = np.zeros((0, 1), np.int32)


class Steps(Protocol):
    """Another model's view of one span, symbol by symbol."""

    def next(self, known: NDArray[np.int32]) -> NDArray[np.int32]:
        """Return the log-odds of the symbol behind those that are known: see `Advisor`."""
        ...


class Advisor(Protocol):
    """Another exact model whose log-odds are one more input of the mixer.

    Log-odds are int32 in units of 1/256 nat, -2047 ... 2047, one for each node of a symbol's
    binary tree in heap order, `2**bits - 1` of them: what `models.exact.log_odds` returns.
    """

    fingerprint: str

    def log_odds(self, symbols: NDArray[np.int32], span: Span) -> NDArray[np.int32]:
        """Return those of all symbols `(n,)` of a span, shape `(n, nodes)`."""
        ...

    def open(self, span: Span) -> Steps:
        """Return the same, step by step."""
        ...


class MixerPrior(Prior):
    """Codes the tokens of a span by the mixer.

    `codebook_sizes` may be smaller than the schema's bits allow. Ids of the first codebooks
    alone are coded as well: `decode_first` reads them. With `schema.extra`, an `advisor` is
    needed. Raises `ValueError` for tensors of another schema. An instance may be shared
    between threads.
    """

    parallel: ClassVar[bool] = True

    def __init__(
        self,
        schema: Schema,
        tensors: Tensors,
        codebook_sizes: Sequence[int],
        advisor: Advisor | None = None,
    ) -> None:
        fits = len(codebook_sizes) == len(schema.bits) and all(
            1 <= size <= 1 << bits for size, bits in zip(codebook_sizes, schema.bits, strict=True)
        )
        if not fits:
            raise ValueError(f"codebooks of {tuple(codebook_sizes)} do not fit {schema.bits} bits")
        if schema.extra != (advisor is not None):
            raise ValueError("a schema has an extra input if and only if there is an advisor")
        self.schema = schema
        self.tensors: Mapping[str, NDArray[Any]] = dict(tensors)
        self.model: Model = model(schema, tensors)
        self._sizes = np.array(codebook_sizes, np.int32)
        self._advisor = advisor
        config = {
            "format": f"omnicodec.prior.mixer.v{fmt.VERSION}",
            "schema": schema.to_json(),
            "sizes": [int(size) for size in codebook_sizes],
            "advisor": advisor.fingerprint if advisor else "",
        }
        self.fingerprint = weights.fingerprint(config, self.tensors)

    def encode(self, ids: NDArray[np.int32], span: Span) -> bytes:
        if ids.size and (ids.min() < 0 or (ids >= self._sizes[: len(ids), None]).any()):
            raise InvalidInput("ids are not in the range of their codebooks")
        symbols = np.array(ids.T, np.int32, order="C").reshape(-1)  # a copy: never read-only
        capacity = 64 + symbols.size * (1 + int(max(self.schema.bits)) // 6)
        while (code := self.encode_within(symbols, span, capacity, books=len(ids))) is None:
            capacity *= 2
        return code

    def encode_within(
        self,
        symbols: NDArray[np.int32],
        span: Span,
        capacity: int,
        *,
        mark: bool = False,
        books: int | None = None,
    ) -> bytes | None:
        """Return the code of a span's symbols, position by position, or None if it is longer.

        A code with a mark, which costs 1/177 bit, never begins with a byte 0. `books` is how
        many codebooks, from the first one on, the symbols are of; None for all.
        """
        state = open_state(self.schema, self.tensors, symbols.size)
        buffer = np.zeros(capacity, np.uint8)
        if mark:
            coder.encode_bit(state.registers, buffer, fmt.MARK, 0)
        extra = self._advisor.log_odds(symbols, span) if self._advisor else NO_EXTRA
        done = self.run(
            state, symbols, span, kernel.ENCODE, books=books, buffer=buffer, extra=extra
        )
        size = -1 if done == kernel.FULL else coder.finish(state.registers, buffer)
        return None if size < 0 else buffer[:size].tobytes()

    def decode(self, data: bytes, span: Span) -> NDArray[np.int32]:
        return self.decode_marked(data, span, mark=False)

    def decode_first(self, data: bytes, span: Span, books: int) -> NDArray[np.int32]:
        """Return ids `(books, len(span))` of the first codebooks, which alone were coded."""
        return self.decode_marked(data, span, mark=False, books=books)

    def decode_marked(
        self, data: bytes, span: Span, *, mark: bool, books: int | None = None
    ) -> NDArray[np.int32]:
        """Return the ids of what `encode_within` made, or raise `CorruptStream`."""
        books = len(self._sizes) if books is None else books
        symbols = np.zeros(len(span) * books, np.int32)
        state = open_state(self.schema, self.tensors, symbols.size)
        buffer = np.frombuffer(data, np.uint8).copy()  # as writable as in encoding: one type
        coder.start_decoding(state.registers, buffer)
        if mark:
            coder.decode_bit(state.registers, buffer, fmt.MARK)
        if self._advisor is None:
            done = self.run(state, symbols, span, kernel.DECODE, books=books, buffer=buffer)
        else:
            steps, done = self._advisor.open(span), 0
            while 0 <= done < symbols.size:
                row = steps.next(symbols[:done])[None]
                done = self.run(
                    state, symbols, span, kernel.DECODE, done, done + 1,
                    books=books, buffer=buffer, extra=row,
                )  # fmt: skip
        ids = np.ascontiguousarray(symbols.reshape(-1, books).T)
        # The coder reads four bytes ahead; zeros behind the end are not written.
        spent = done != kernel.FULL and state.registers[AT] >= buffer.size
        if not spent or (ids >= self._sizes[:books, None]).any():
            raise CorruptStream("entropy-coded data is not that of its chunk")
        return ids

    def run(
        self,
        state: State,
        symbols: NDArray[np.int32],
        span: Span,
        mode: int,
        start: int = 0,
        stop: int | None = None,
        *,
        books: int | None = None,
        buffer: NDArray[np.uint8] = NO_BYTES,
        windows: NDArray[np.int32] = NO_INTEGERS,
        surprisal: NDArray[np.int32] = NO_INTEGERS,
        entropy: NDArray[np.int32] = NO_INTEGERS,
        extra: NDArray[np.int32] = NO_EXTRA,
    ) -> int:
        """Run the kernel over `symbols[start:stop]` of the first `books`; see `kernel.run`."""
        books = len(self._sizes) if books is None else books
        grid = (1, 1, *span.grid)
        if len(grid) > 5:
            raise InvalidInput(f"a grid of rank {len(span.grid)} is more than a mixer looks at")
        layout = np.array([books, span.start, max(1, grid[-2]), max(1, grid[-1])])
        end = symbols.size if stop is None else stop
        if extra.size and not self._fits(extra, end - start):
            raise ValueError(f"log-odds of shape {extra.shape} are not those of the symbols")
        done: int = kernel.run(
            self.model, state, symbols, start, end, layout.astype(np.int64), mode,
            buffer, windows, surprisal, entropy, extra,
        )  # fmt: skip
        return done

    def _fits(self, extra: NDArray[np.int32], symbols: int) -> bool:
        nodes = (1 << max(self.schema.bits)) - 1
        return extra.dtype == np.int32 and len(extra) >= symbols and extra.shape[1:] == (nodes,)

    def warm(self) -> None:
        """Compile all loops, or read them from the disk."""
        span = Span((4,), 0, 4)
        symbols = np.zeros((len(self._sizes), 4), np.int32)
        self.decode(self.encode(symbols, span), span)
