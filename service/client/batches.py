"""Batches of any size, split into calls that fit."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final

import grpc
from google.protobuf.message import Message

from omnicodec.codecs import LimitExceeded, OmnicodecError, Unavailable
from omnicodec.service.client.errors import BatchTooLarge, status_behind
from omnicodec.service.client.steps import Asking, Steps

_FIELD_BYTES: Final = 6  # of a tag and a length


def in_batches(
    asking: Asking,
    method: str,
    base: Message,
    field: str,
    items: Iterable[Any],
    answer: str,
    alone: Callable[[Any], Steps[Any]],
) -> Steps[list[Any]]:
    """Return the answers to all items, in order, from as many calls as it takes.

    Each request is `base` with some of the items, messages or bytes, in its `field`; each
    answer has theirs in the field `answer`. There is one call at least, so that a wrong codec is
    noticed also without items. An item that fits no call, or whose answer fits none, goes `alone`,
    in pieces.
    """
    connection = asking.connection
    room = connection.max_message_bytes - base.ByteSize()
    answers: list[Any] = []
    most = connection.max_items

    def send(batch: list[Any]) -> Steps[None]:
        nonlocal most
        while True:
            request = type(base)()
            request.CopyFrom(base)
            getattr(request, field).extend(batch[:most])
            try:
                found = getattr((yield from asking.ask(method, request)), answer)
            except BatchTooLarge as e:
                if 0 < e.fits < len(batch[:most]):
                    most = e.fits
                    continue
                found = yield from in_pieces(batch[:most], e)
            except LimitExceeded as e:
                found = yield from in_pieces(batch[:most], e)
            if len(found) != len(batch[:most]):
                raise OmnicodecError(
                    f"{connection.target} answered {len(found)} of {len(batch[:most])} items"
                )
            answers.extend(found)
            batch = batch[most:]
            if not batch:
                return

    def in_pieces(batch: list[Any], error: LimitExceeded) -> Steps[list[Any]]:
        """Return the answer to the one item of a batch; raises the error of several."""
        if len(batch) != 1:
            raise error
        try:
            return [(yield from alone(batch[0]))]
        except Unavailable as e:
            if status_behind(e) is grpc.StatusCode.UNIMPLEMENTED:  # an older server
                raise error from None
            raise

    batch: list[Any] = []
    used = 0
    calls = 0
    for item in items:
        size = _FIELD_BYTES + (len(item) if isinstance(item, bytes) else item.ByteSize())
        large = size > room
        if batch and (large or len(batch) >= most or used + size > room):
            yield from send(batch)
            calls += 1
            batch, used = [], 0
        if large:
            error = LimitExceeded(
                f"an item of {size:,} bytes is over the limit of "
                f"{connection.max_message_bytes:,} bytes a message"
            )
            answers += yield from in_pieces([item], error)
            calls += 1
            continue
        batch.append(item)
        used += size
    if batch or not calls:
        yield from send(batch)
    return answers
