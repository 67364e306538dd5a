"""What a server counts, as an interface; prometheus.py counts, this here does not."""

from __future__ import annotations

from enum import StrEnum


class Step(StrEnum):
    """The steps of the work on an item, each with its share of the time."""

    OPEN = "open"
    """Media are read, or streams are."""
    QUEUE = "queue"
    """The item waits for its turn or for a batch."""
    COMPUTE = "compute"
    """Networks and whatever else makes tokens or media."""
    SAVE = "save"
    """Tokens, streams or media become bytes."""


class Metrics:
    """Hears of everything that is counted, and counts nothing.

    Methods may be called from any thread and never wait. `method` is a full name,
    "omnicodec.v1.CodecService/Encode", and `codec` one of the registry without a version: names
    that a client makes up must not get here, since each becomes a series that is kept for good.
    """

    def began(self, method: str) -> None:
        """Note that a call came in."""

    def ended(self, method: str, code: str, seconds: float, received: int, sent: int) -> None:
        """Note that a call is over, with its status and the bytes of its messages."""

    def step(self, codec: str, step: Step, seconds: float) -> None:
        """Note how long an item was at one step."""

    def batch(self, codec: str, size: int) -> None:
        """Note that a network ran once, on so many items."""

    def tokens(self, codec: str, count: int) -> None:
        """Note tokens that were made or read, of all codebooks together."""

    def compressed(self, codec: str, media: int, stream: int) -> None:
        """Note that so many bytes of media, raw, became so many of a stream."""

    def loaded(self, codec: str, seconds: float) -> None:
        """Note that a codec was loaded and warmed."""

    def refused(self, reason: str) -> None:
        """Note a call that was turned away.

        `reason` is "queue", "bytes", "wait", "cost", "streams" or "token".
        """

    def waiting(self, requests: int, nbytes: int) -> None:
        """Note the state of the admission: the requests in it, and their bytes."""
