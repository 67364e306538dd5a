"""One call, from its first byte to its status: what its limits, log line and trace are about.

The call in progress is `current()`, in the coroutine that answers it and in whatever that starts
with a copy of its context, such as the threads of `Job.run`, or by `Call.run`. Outside calls it is
one without limits.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable
from contextvars import ContextVar, copy_context
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

from omnicodec.service.server.metrics import Metrics, Step
from omnicodec.service.server.tokens import Holder, Limits

T = TypeVar("T")

ANYONE: Final = Holder(limits=Limits(admin=True))
"""Who calls a server that asks for no tokens."""


@dataclass
class Span:
    """When a step of a call first began and last ended, in seconds of `time.time`."""

    began: float
    ended: float
    seconds: float = 0.0
    """Of all items together."""
    items: int = 0


@dataclass
class Call:
    """A call of `holder`, the holder of a token; methods may be called from any thread."""

    method: str = ""
    id: str = field(default_factory=lambda: secrets.token_hex(8))
    holder: Holder = ANYONE
    authorization: str | bytes | None = field(default=None, repr=False)
    """What the client sent, for calls that are passed on to another process."""
    metrics: Metrics = field(default_factory=Metrics)
    codec: str = ""
    items: int = 0
    received: int = 0
    sent: int = 0
    batch: int = 0
    """Items of the largest batch that one of this call's was in."""
    done: bool = False
    """Whether it was answered; what was not has failed or was cancelled."""
    trace_id: str = ""
    span: Any = None
    """The span of OpenTelemetry, for tracing.py alone."""
    began: float = field(default_factory=time.time)
    steps: dict[Step, Span] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def about(self, codec: str, items: int) -> None:
        """Note which codec a call uses, by its name in the registry, and for how many items.

        Raises `NotAllowed` when its token is not for this codec.
        """
        self.uses(codec)
        self.items = items

    def uses(self, codec: str) -> None:
        """Note a codec that a call uses; raises `NotAllowed` when its token is not for it."""
        self.holder.check_codec(codec)
        if not self.codec:
            self.codec = codec

    def receive(self, nbytes: int) -> None:
        """Count a message that came in; raises `OverQuota` when the token's minute is used up."""
        self.received += nbytes
        self.holder.spend_bytes(nbytes)

    def run(self, work: Callable[..., T], *arguments: Any) -> T:
        """Return `work(*arguments)`, for which this is the call in progress, in any thread."""
        context = copy_context()
        context.run(_current.set, self)
        return context.run(work, *arguments)

    def send(self, nbytes: int) -> None:
        """Count a message that goes out."""
        self.sent += nbytes

    def did(self, codec: str, step: Step, seconds: float, *, batch: int = 0) -> None:
        """Note that one item spent `seconds` at a step, which is over now."""
        self.metrics.step(codec, step, seconds)
        now = time.time()
        with self._lock:
            span = self.steps.setdefault(step, Span(now - seconds, now))
            span.began = min(span.began, now - seconds)
            span.ended = now
            span.seconds += seconds
            span.items += 1
            self.batch = max(self.batch, batch)


_current: ContextVar[Call] = ContextVar("call")
_OUTSIDE: Final = Call()


def current() -> Call:
    """Return the call in progress."""
    return _current.get(_OUTSIDE)


def enter(call: Call) -> None:
    """Make `call` the one in progress, in this context."""
    _current.set(call)
