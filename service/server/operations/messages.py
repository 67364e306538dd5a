"""Rows to google.longrunning.Operation."""

from __future__ import annotations

from typing import Any, Final

from google.longrunning import operations_pb2
from google.protobuf import any_pb2, timestamp_pb2
from google.rpc import status_pb2

from omnicodec.codecs import Progress
from omnicodec.service.server.operations.store import State, Stored
from omnicodec.service.server.refusals import UnknownOperation
from omnicodec.v1 import codec_service_pb2 as pb

COLLECTION: Final = "operations"

_PREFIX: Final = f"{COLLECTION}/"
_RESPONSE_TYPE: Final = f"type.googleapis.com/{pb.StartEncodeResponse.DESCRIPTOR.full_name}"


def id_of(name: str) -> str:
    """Return the id in the name of an operation; raises `UnknownOperation`."""
    if not name.startswith(_PREFIX):
        raise UnknownOperation(f"names of operations here begin with {_PREFIX}")
    return name.removeprefix(_PREFIX)


def operation(
    stored: Stored,
    *,
    keep_seconds: float,
    response: bytes | None = None,
    progress: pb.EncodeProgress | None = None,
    preview: bytes = b"",
) -> Any:
    """Return the message of an operation.

    `response` is that of one that has SUCCEEDED, serialized; without it the message has none.
    `progress` is newer than the stored one.
    """
    metadata = pb.StartEncodeMetadata(
        state=f"STATE_{stored.state}",
        codec=stored.codec,
        create_time=_time(stored.created),
        start_time=_time(stored.started),
        end_time=_time(stored.ended),
        expire_time=_time(None if stored.ended is None else stored.ended + keep_seconds),
        preview=preview,
    )
    if progress is not None:
        metadata.progress.CopyFrom(progress)
    elif stored.progress:
        metadata.progress.ParseFromString(stored.progress)
    packed = any_pb2.Any()
    packed.Pack(metadata)
    message = operations_pb2.Operation(
        name=f"{_PREFIX}{stored.id}", metadata=packed, done=stored.done
    )
    if stored.state is State.SUCCEEDED and response is not None:
        message.response.CopyFrom(any_pb2.Any(type_url=_RESPONSE_TYPE, value=response))
    elif stored.error:
        message.error.CopyFrom(status_pb2.Status.FromString(stored.error))
    return message


def progress_to_proto(progress: Progress) -> pb.EncodeProgress:
    """Return the message of a codec's report, without its preview."""
    return pb.EncodeProgress(
        share=progress.share,
        step=progress.step,
        bits=progress.bits,
        psnr=progress.psnr,
        seconds_left=progress.seconds_left,
    )


def _time(seconds: float | None) -> timestamp_pb2.Timestamp | None:
    if seconds is None:
        return None
    found = timestamp_pb2.Timestamp()
    found.FromMicroseconds(round(1e6 * seconds))
    return found
