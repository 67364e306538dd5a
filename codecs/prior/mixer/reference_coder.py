"""Coding with the reference of the mixer, bit by bit; see `reference`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from omnicodec.codecs.errors import CorruptStream
from omnicodec.codecs.prior.mixer import format as fmt
from omnicodec.codecs.prior.mixer.reference import INFORMATION, Choose, Item

Put = Callable[[int, int], int]
"""Takes a bit behind its probability of 1, and returns it."""

Advise = Callable[[list[int]], Sequence[int]]
"""Takes the symbols so far, and returns another model's log-odds of the next one's nodes."""


class RangeEncoder:
    """The carryless binary range coder."""

    def __init__(self) -> None:
        self.low, self.high = 0, 2**32 - 1
        self.code = bytearray()

    def put(self, p: int, bit: int) -> int:
        self.low, self.high = _halves(self.low, self.high, p)[bit]
        while self.low >> 24 == self.high >> 24:
            self.code.append(self.high >> 24)
            self.low, self.high = self.low << 8 & 0xFFFFFFFF, self.high << 8 & 0xFFFFFFFF | 255
        return bit

    def finish(self) -> bytes:
        """Return the code, with as few bytes as tell the last interval if zeros follow."""
        for size in range(5):
            unit = 1 << (32 - 8 * size)
            value = -(-self.low // unit) * unit
            if value <= self.high:
                break
        return bytes(self.code) + value.to_bytes(4, "big")[:size].rstrip(b"\0")


class RangeDecoder:
    """Its inverse; behind the end of the code there are zeros."""

    def __init__(self, code: bytes) -> None:
        self.rest = iter(code)
        self.beyond = -len(code)  # bytes taken from behind the end
        self.low, self.high, self.value = 0, 2**32 - 1, 0
        for _ in range(4):
            self._shift()

    def get(self, p: int) -> int:
        halves = _halves(self.low, self.high, p)
        bit = int(self.value <= halves[1][1])
        self.low, self.high = halves[bit]
        while self.low >> 24 == self.high >> 24:
            self.low, self.high = self.low << 8 & 0xFFFFFFFF, self.high << 8 & 0xFFFFFFFF | 255
            self._shift()
        return bit

    def _shift(self) -> None:
        self.value = self.value << 8 & 0xFFFFFFFF | next(self.rest, 0)
        self.beyond += 1


def _halves(low: int, high: int, p: int) -> tuple[tuple[int, int], tuple[int, int]]:
    """Return the part of an interval that means 0, and the lower one that means 1."""
    middle = low + ((high - low) * p >> 16)
    return (middle + 1, high), (low, middle)


class Windows:
    """Windows of equal information, written or, where `given`, read."""

    def __init__(self, given: Sequence[int] | None = None) -> None:
        self.given = given
        self.taken: list[tuple[int, int]] = []
        """The codes that are left of each window: the first of them, and their number."""

    def code(self, p: int, bit: int = 0) -> int:
        """Code a bit, or return the one that is given; raises `EOFError` behind the last."""
        if not self.taken or self.taken[-1][1] < fmt.WINDOW_LEAST:
            if self.given is not None and len(self.taken) == len(self.given):
                raise EOFError
            self.taken.append((0, 1 << fmt.WINDOW_BITS))
        first, size = self.taken[-1]
        ones = max(1, min(size - 1, (size * p + (1 << 15)) >> 16))
        if self.given is not None:
            bit = int(self.given[len(self.taken) - 1] < first + ones)
        self.taken[-1] = (first, ones) if bit else (first + ones, size - ones)
        return bit


def bits_of(symbol: int, bits: int) -> list[int]:
    """Return the bits of a symbol, the highest first."""
    return [symbol >> k & 1 for k in reversed(range(bits))]


def learn(
    item: Item,
    symbols: Iterable[int],
    put: Put,
    advise: Advise | None = None,
    entropy: list[int] | None = None,
) -> None:
    """Take symbols that are known; `put` is told of each bit and its probability."""
    for symbol in symbols:
        bits = item.schema.bits[len(item.data) % item.books]
        item.code(_told(bits_of(symbol, bits), put), advise and advise(item.data), entropy)


def _told(bits: Iterable[int], put: Put) -> Choose:
    rest = iter(bits)
    return lambda p: put(p, next(rest))


def encode(item: Item, symbols: Iterable[int], advise: Advise | None = None) -> bytes:
    """Return the code of a new item's symbols."""
    coder = RangeEncoder()
    learn(item, symbols, coder.put, advise)
    return coder.finish()


def decode(item: Item, code: bytes, count: int, advise: Advise | None = None) -> list[int]:
    """Return `count` symbols of a code; raises `CorruptStream` if it cannot be one of theirs."""
    coder = RangeDecoder(code)
    for _ in range(count):
        item.code(coder.get, advise and advise(item.data))
        if coder.beyond > 4:
            break
    if not 0 <= coder.beyond <= 4:
        raise CorruptStream("the code is too short or too long")
    return item.data


def entropy(item: Item, symbols: Iterable[int]) -> list[int]:
    """Return the entropy of the high four bits of each byte of a new item, in 1/4096 bit."""
    result: list[int] = []
    learn(item, symbols, lambda _, bit: bit, entropy=result)
    return result


def surprisal(item: Item, symbols: Iterable[int], advise: Advise | None = None) -> list[int]:
    """Return the information of each symbol of a new item, in 1/4096 bit."""
    result: list[int] = []

    def put(p: int, bit: int) -> int:
        result[-1] += INFORMATION[p if bit else fmt.ONE - p]
        return bit

    for symbol in symbols:
        result.append(0)
        learn(item, [symbol], put, advise)
    return result


def to_windows(item: Item, symbols: Sequence[int]) -> list[int]:
    """Return the windows of a text, and how many bytes end in the last of them."""
    windows, ended_in = Windows(), []
    for symbol in symbols:
        learn(item, [symbol], windows.code)
        ended_in.append(len(windows.taken))
    count = ended_in.count(len(windows.taken))
    return [first for first, _ in windows.taken] + [count] * bool(symbols)


def from_windows(item: Item, windows: Sequence[int]) -> bytes:
    """Return the text of windows and the number of bytes that end in the last of them."""
    coder, ended_in = Windows(windows[:-1]), []
    while True:
        try:
            item.code(coder.code)
        except EOFError:
            break
        ended_in.append(len(coder.taken))
    extra = max(0, ended_in.count(len(coder.taken)) - windows[-1]) if ended_in else 0
    return bytes(item.data[: len(item.data) - extra])
