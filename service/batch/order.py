"""An order of rows that is shuffled, shared among processes, and can go on where it was.

It takes no memory that grows with the data: the permutation is a cipher. A row's number is
encrypted by a Feistel network of 8 rounds on the smallest even number of bits that holds all
numbers, again and again until the result is one of them ("cycle walking": Black and Rogaway 2002,
"Ciphers with Arbitrary Finite Domains"). The same seed and epoch give the same order everywhere.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from omnicodec.codecs import InvalidInput

SHUFFLES: Final = ("full", "block", "none")
TAILS: Final = ("drop", "repeat")

_ROUNDS: Final = 8
_CHUNK: Final = 4096

Numbers = NDArray[np.uint64]


class Order:
    """The numbers 0 to `length - 1` of one epoch, as one of `world` processes sees them.

    `shuffle` is "full"; "block", which mixes only rows of `window` blocks at a time, each of
    `block` neighbours, so that a file is read once; or "none". All processes get the same number
    of rows: the last ones are left out ("drop"), or the first ones come again ("repeat"). No row
    is given twice otherwise.

    It is a sampler of `torch.utils.data.DataLoader`. Positions are those of all processes
    together: process `rank` has positions `rank`, `rank + world`, and so on, so that a state goes
    on with another number of processes too. Raises `InvalidInput` for arguments that are none.
    """

    def __init__(
        self,
        length: int,
        *,
        seed: int = 0,
        epoch: int = 0,
        rank: int = 0,
        world: int = 1,
        shuffle: str = "full",
        block: int = 1024,
        window: int = 16,
        tail: str = "drop",
    ) -> None:
        if length < 0 or epoch < 0 or block < 1 or window < 1 or not 0 <= rank < world:
            raise InvalidInput("an order needs length, epoch >= 0, block, window > 0, rank < world")
        if shuffle not in SHUFFLES or tail not in TAILS:
            known = f"{', '.join(SHUFFLES)}; tails: {', '.join(TAILS)}"
            raise InvalidInput(f"unknown shuffle {shuffle!r} or tail {tail!r}; known: {known}")
        self.length, self.seed, self.epoch = length, seed, epoch
        self.rank, self.world = rank, world
        self.shuffle, self.block, self.window, self.tail = shuffle, block, window, tail
        self.position = self._loaded = 0

    def __len__(self) -> int:
        """Return how many rows the next iteration gives."""
        return self._share(self.position) or self._share(0)

    def __iter__(self) -> Iterator[int]:
        """Yield the rows that are left of the epoch; `position` moves with each.

        Where none are left, `epoch` becomes the next one and all of its rows are given.
        """
        if self.position and not self._share(self.position):
            self.epoch, self.position, self._loaded = self.epoch + 1, 0, 0
        permutation = self._permutation()
        begin, count = self.position, self._share(self.position)
        for start in range(0, count, _CHUNK):
            steps = np.arange(start, min(start + _CHUNK, count), dtype=np.uint64)
            places = steps * np.uint64(self.world) + np.uint64(begin + self.rank)
            rows = permutation(places % np.uint64(self.length))
            for step, row in enumerate(rows.tolist(), start + 1):
                self.position = begin + step * self.world
                yield row

    def state_dict(self, given: int | None = None) -> dict[str, Any]:
        """Return where it is, as JSON.

        A `DataLoader` asks for rows ahead of the training loop; `given` is how many rows of this
        epoch the loop of this process has really had, counted from the epoch's beginning or, after
        `load_state_dict`, from there.
        """
        position = self.position if given is None else self._loaded + given * self.world
        names = ("length", "seed", "epoch", "shuffle", "block", "window", "tail")
        return {name: getattr(self, name) for name in names} | {"position": position}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a state, with any `rank` and `world`.

        Raises `InvalidInput` for the state of another data set, or of another order.
        """
        try:
            for name in ("length", "seed", "shuffle", "block", "window", "tail"):
                if state[name] != getattr(self, name):
                    raise ValueError(f"its {name} is {state[name]!r}, not {getattr(self, name)!r}")
            epoch, position = int(state["epoch"]), int(state["position"])
            if epoch < 0 or position < 0:
                raise ValueError("it lies before the beginning")
        except (KeyError, TypeError, ValueError) as e:
            raise InvalidInput(f"this is not a state of this order: {e}") from e
        self.epoch, self.position, self._loaded = epoch, position, position

    def _share(self, position: int) -> int:
        left = max(0, self.length - position)
        return left // self.world if self.tail == "drop" else -(-left // self.world)

    def _permutation(self) -> Permutation | BlockPermutation:
        if self.shuffle == "none":
            return Permutation(self.length, None)
        key = _key(self.seed, self.epoch)
        if self.shuffle == "full":
            return Permutation(self.length, key)
        return BlockPermutation(self.length, key, self.block, self.window)


class Permutation:
    """A permutation of 0 to `length - 1` that is computed rather than stored.

    `key` None is the identity. Keys may be an array, one for each number that is asked for, and
    so may lengths.
    """

    def __init__(self, length: int, key: int | None) -> None:
        self._length, self._key = length, key

    def __call__(self, numbers: Numbers) -> Numbers:
        """Return where each number goes."""
        if self._key is None or not numbers.size:
            return numbers
        lengths = np.full(numbers.shape, self._length, np.uint64)
        return permuted(numbers, lengths, np.full(numbers.shape, self._key, np.uint64))

    def inverse(self, number: int) -> int:
        """Return the number that goes to this one."""
        if self._key is None:
            return number
        lengths, keys = (np.array([n], np.uint64) for n in (self._length, self._key))
        found = permuted(np.array([number], np.uint64), lengths, keys, backward=True)
        return int(found[0])


class BlockPermutation:
    """Blocks of neighbours in a permuted order, and rows permuted among `window` blocks."""

    def __init__(self, length: int, key: int, block: int, window: int) -> None:
        self._length, self._key, self._block = length, key, block
        self._group = block * window
        count = -(-length // block)
        self._blocks = Permutation(count, _key(key, 1))
        # The last block may be a short one; all behind its place are shifted.
        self._short = length - (count - 1) * block
        self._place = self._blocks.inverse(count - 1) if count else 0

    def __call__(self, numbers: Numbers) -> Numbers:
        """Return where each number goes."""
        if not numbers.size:
            return numbers
        groups = numbers // np.uint64(self._group)
        starts = groups * np.uint64(self._group)
        lengths = np.minimum(np.uint64(self._group), np.uint64(self._length) - starts)
        keys = _mix(groups + np.uint64(_key(self._key, 2)))
        inner = starts + permuted(numbers - starts, lengths, keys)
        # As if the short block were a long one.
        short_end = np.uint64(self._place * self._block + self._short)
        shift = np.uint64(self._block - self._short)
        inner = inner + np.where(inner >= short_end, shift, np.uint64(0))
        size = np.uint64(self._block)
        return self._blocks(inner // size) * size + inner % size


def permuted(
    numbers: Numbers, lengths: Numbers, keys: Numbers, *, backward: bool = False
) -> Numbers:
    """Return each number, below its own length, as the cipher with its own key has it."""
    # Half of the bits that the largest number has, 1 at least.
    half = np.maximum(1, (_bits(lengths - np.uint64(1)) + 1) // 2).astype(np.uint64)
    mask = (np.uint64(1) << half) - np.uint64(1)
    out = numbers.copy()
    todo = np.arange(len(numbers))
    while todo.size:
        left, right = out[todo] >> half[todo], out[todo] & mask[todo]
        if backward:
            left, right = right, left
        for step in reversed(range(_ROUNDS)) if backward else range(_ROUNDS):
            mixed = _mix(right + keys[todo] + np.uint64(step)) & mask[todo]
            left, right = right, np.bitwise_xor(left, mixed)
        if backward:
            left, right = right, left
        out[todo] = left << half[todo] | right
        todo = todo[out[todo] >= lengths[todo]]
    return out


def _bits(numbers: Numbers) -> NDArray[np.int64]:
    """Return the number of binary digits of each."""
    powers = np.uint64(1) << np.arange(64, dtype=np.uint64)
    return np.searchsorted(powers, numbers, side="right")


def _mix(numbers: Numbers) -> Numbers:
    """Return 64 well mixed bits of each number, as SplitMix64 does (Steele et al. 2014)."""
    z = numbers * np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed: Numbers = z ^ (z >> np.uint64(31))
    return mixed


def _key(seed: int, salt: int) -> int:
    """Return a key of 64 bits from a seed of any size and another number."""
    mixed = _mix(np.array([seed & (1 << 64) - 1], np.uint64)) + np.uint64(salt)
    return int(_mix(mixed)[0])
