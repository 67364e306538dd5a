"""Print a SHA-256 over all that a mixer of weights from a formula does; see test_machines.py.

Weights are integers of a fixed generator, not trained ones: training uses floating point.
Arguments: how many threads to use.
"""

from __future__ import annotations

import hashlib
import random
import sys
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from omnicodec.codecs.prior import Span
from omnicodec.codecs.prior.mixer import ByteModel, MixerPrior, Neighbour, Schema, kernel
from omnicodec.codecs.prior.mixer import text_schema as schema_of_text
from omnicodec.codecs.prior.mixer.reference import Buckets, Item
from omnicodec.codecs.prior.mixer.reference_coder import encode
from omnicodec.codecs.prior.mixer.schema import FEATURE, FOUND, GRID, MATCH, SYMBOL
from omnicodec.codecs.prior.mixer.state import TOUCHED, initial_tensors, open_state

TEXT = "Exactly the same, на машині: exactly the same!\n".encode() + bytes(range(0, 256, 15))
CODES = Schema(
    features=GRID,
    bits=(10, 3),
    neighbours=(Neighbour(left=1), Neighbour(up=1), Neighbour(book=1, shift=5)),
    contexts=((), (3,), (3, 4), (5, 0)),
    parents=(-1, 0, 1, 0),
    selectors=((MATCH, 0, 0), (SYMBOL, 0, 0), (FOUND, 0, 0), (FEATURE, 4, 4)),
    refinements=((), (3,)),
    match=3,
)
GRIDS = ((23,), (4, 5), (2, 3, 3))


def tensors(schema: Schema, span: Span, symbols: list[int]) -> dict[str, NDArray[Any]]:
    """Return tensors of integers from a formula, with a table of the contexts of `symbols`."""
    draw = random.Random(5).randrange
    made: dict[str, NDArray[Any]] = initial_tensors(schema)

    class Noting(Buckets):
        def find(self, h: int) -> None:
            hashes.append(h)

    hashes: list[int] = []
    item = Item(schema, made, span, len(symbols))
    item.static = Noting(bytearray())
    encode(item, symbols)
    table = Buckets(bytearray(16 << 9))
    for h in hashes:
        table.find_or_make(h)
    static = np.frombuffer(bytes(table.content), np.uint8).reshape(-1, 16).T.copy()
    codes = [draw(249) for _ in range(15 << 9)]
    static[1:] = np.array(codes, np.uint8).reshape(15, -1)
    made["static"] = static
    for name, reach in (("joint", 700), ("static_map", 700), ("state_map", 700), ("final", 9000)):
        noise = np.array([draw(-reach, reach) for _ in range(1 << 12)], np.int64)
        values = made[name] + np.resize(noise, made[name].shape)
        made[name] = values.astype(made[name].dtype)
    noise = np.array([draw(-20_000, 20_000) for _ in range(997)], np.int32)
    made["weights"][:, : schema.inputs] += np.resize(
        noise, made["weights"][:, : schema.inputs].shape
    )
    return made


def text_part() -> bytes:
    span = Span((len(TEXT),), 0, len(TEXT))
    model = ByteModel(schema_of_text(), tensors(schema_of_text(), span, list(TEXT)))
    ids = np.frombuffer(TEXT, np.uint8).astype(np.int32)[None]
    # Not what Zstandard makes, which another version of it may pack otherwise.
    code = model.encode_within(ids[0].copy(), span, 999, mark=True)
    assert code is not None
    assert np.array_equal(model.decode(code, span), ids)
    windows = model.to_windows(TEXT)
    assert model.from_windows(windows, 999) == TEXT
    measures = (model.surprisal(TEXT), model.nibble_entropy(TEXT), windows)
    parts = [code, *(m.astype("<i4").tobytes() for m in measures), end(model, ids, span)]
    return b"".join(parts)


def grid_part(grid: tuple[int, ...]) -> bytes:
    rng = random.Random(len(grid))
    size = int(np.prod(grid))
    span = Span(grid, 3, size)
    column = [rng.randrange(7) ** 3 for _ in range(size - 3)]
    ids = np.array([column, [value % 8 for value in column]], np.int32)
    symbols = np.ascontiguousarray(ids.T).reshape(-1)
    model = MixerPrior(CODES, tensors(CODES, span, symbols.tolist()), (1000, 8))
    code = model.encode(ids, span)
    assert np.array_equal(model.decode(code, span), ids)
    return code + end(model, ids, span)


def end(model: MixerPrior, ids: NDArray[np.int32], span: Span) -> bytes:
    """Return the state at the end of an item, and what each symbol cost."""
    symbols = np.ascontiguousarray(ids.T).reshape(-1)
    state = open_state(model.schema, model.tensors, symbols.size)
    surprisal = np.zeros(symbols.size, np.int32)
    model.run(state, symbols, span, kernel.MEASURE, surprisal=surprisal)
    parts = [surprisal, *state[:-1], state.registers[:TOUCHED]]
    return b"".join(p.astype(p.dtype.newbyteorder("<")).tobytes() for p in parts)


def main() -> None:
    warnings.simplefilter("error", RuntimeWarning)  # numpy's, where 32 bits overflow
    parts: list[Callable[[], bytes]] = [text_part]
    parts += [lambda grid=grid: grid_part(grid) for grid in GRIDS]  # type: ignore[misc]
    with ThreadPoolExecutor(int(sys.argv[1])) as pool:
        done = list(pool.map(lambda part: part(), parts))
    machine = kernel.run
    target = machine.targetctx.codegen().magic_tuple() if hasattr(machine, "targetctx") else ""
    print(hashlib.sha256(b"".join(done)).hexdigest())
    print(target)


if __name__ == "__main__":
    main()
