"""Text: any bytes at all, usually UTF-8."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Self

from omnicodec.codecs.errors import InvalidInput, LimitExceeded
from omnicodec.codecs.limits import MAX_TEXT_BYTES
from omnicodec.codecs.media.base import Media


@dataclass(frozen=True)
class Text(Media):
    """A text, made from `str` or `bytes`; `data` is always bytes.

    Bytes need not be valid UTF-8 and a `str` may hold lone surrogates: both come back as
    they went in.
    """

    data: bytes

    suffixes: ClassVar[tuple[str, ...]] = (
        ".txt", ".md", ".rst", ".json", ".jsonl", ".csv", ".tsv", ".xml", ".html", ".log",
        ".py", ".c", ".h", ".cc", ".cpp", ".rs", ".go", ".js", ".ts", ".java", ".sh", ".toml",
        ".yaml", ".yml", ".tex", ".sql", ".css", ".ini", ".cfg",
    )  # fmt: skip

    def __post_init__(self) -> None:
        data: object = self.data
        if isinstance(data, str):
            data = data.encode("utf-8", "surrogatepass")
        elif isinstance(data, bytearray | memoryview):
            data = bytes(data)
        if not isinstance(data, bytes):
            raise InvalidInput(f"text must be str or bytes, not {type(data).__name__}")
        if len(data) > MAX_TEXT_BYTES:
            raise LimitExceeded(f"text of {len(data):,} bytes is over {MAX_TEXT_BYTES:,}")
        object.__setattr__(self, "data", data)

    def __str__(self) -> str:
        """Return the text as `str`, equal to the one given; of bytes, invalid ones as U+FFFD."""
        try:
            return self.data.decode("utf-8", "surrogatepass")
        except UnicodeDecodeError:
            return self.data.decode("utf-8", "replace")

    @property
    def nbytes(self) -> int:
        return len(self.data)

    @classmethod
    def _from_bytes(cls, data: bytes) -> Self:
        return cls(data)

    def to_bytes(self, suffix: str | None = None) -> bytes:
        """Return the bytes; every suffix means the same."""
        return self.data
