"""The way of a call: in by the event loop, through admission, out as answer or status."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import grpc
from google.longrunning import operations_pb2
from google.protobuf.message import Message

from omnicodec.service.server import wire
from omnicodec.service.server.admission import Admission
from omnicodec.service.server.batching import says_bulk
from omnicodec.service.server.calls import current
from omnicodec.service.server.engine import Engine
from omnicodec.service.server.jobs import Job
from omnicodec.service.server.operations.calls import OPERATIONS, Operations
from omnicodec.service.server.operations.forwarding import ForwardedOperations
from omnicodec.service.server.workers import Workers
from omnicodec.v1 import codec_service_pb2 as pb

SERVICE = pb.DESCRIPTOR.services_by_name["CodecService"]

Method = Callable[[Any, Job], Awaitable[Message]]


class Service:
    """Answers the calls of one gRPC service.

    `methods` has, by name, the type of a request, what answers it, and the admission that counts
    it. A request has at most as many fields as `most_items` items have.
    """

    def __init__(
        self,
        full_name: str,
        methods: Mapping[str, tuple[type[Message], Method, Admission]],
        workers: Workers,
        most_items: int,
    ) -> None:
        self.full_name = full_name
        self._methods = methods
        self._workers = workers
        self._most_items = most_items

    def handlers(self) -> grpc.GenericRpcHandler:
        """Return what a server registers.

        Requests and answers are bytes to gRPC: it would parse requests on the event loop,
        before anyone can say no. Handlers write the answer, to know when it is gone; on the wire
        that is no stream.
        """
        handlers = {
            name: grpc.unary_stream_rpc_method_handler(self._handler(*how))
            for name, how in self._methods.items()
        }
        return grpc.method_handlers_generic_handler(self.full_name, handlers)

    def _handler(
        self, kind: type[Message], method: Method, admission: Admission
    ) -> Callable[[bytes, grpc.aio.ServicerContext], Awaitable[None]]:
        async def handle(data: bytes, context: grpc.aio.ServicerContext) -> None:
            bulk = says_bulk(context.invocation_metadata())
            job = Job(context.time_remaining(), bulk=bulk)
            call, entered = current(), False
            try:
                call.receive(len(data))
                admission.enter(len(data))
                entered = True
                if len(data) <= wire.AT_ONCE_BYTES:
                    request = wire.parse(kind, data, self._most_items)
                else:
                    request = await job.run(
                        self._workers.cpu, wire.parse, kind, data, self._most_items
                    )
                answer: bytes = (await method(request, job)).SerializeToString()
                job.stop()  # what it had reserved is free
                call.send(len(answer))
                await context.write(answer)
            finally:  # errors become statuses in security.py, as those of all calls do
                job.stop()
                if entered:  # and not earlier: the answer took memory until it was sent
                    admission.leave(len(data))

        return handle


def services(
    engine: Engine,
    operations: Operations | ForwardedOperations,
    workers: Workers,
    most_items: int,
    *,
    work: Admission,
    waits: Admission,
) -> list[Service]:
    """Return the services of a server: requests are counted by `work`, mere waiting by `waits`."""
    codecs: dict[str, tuple[type[Message], Method, Admission]] = {
        "ListCodecs": (pb.ListCodecsRequest, engine.list_codecs, work),
        "GetCodec": (pb.GetCodecRequest, engine.get_codec, work),
        "Encode": (pb.EncodeRequest, engine.encode, work),
        "Decode": (pb.DecodeRequest, engine.decode, work),
        "Compress": (pb.CompressRequest, engine.compress, work),
        "Decompress": (pb.DecompressRequest, engine.decompress, work),
        "StartEncode": (pb.StartEncodeRequest, operations.start_encode, work),
    }
    long: dict[str, tuple[type[Message], Method, Admission]] = {
        "ListOperations": (operations_pb2.ListOperationsRequest, operations.list, work),
        "GetOperation": (operations_pb2.GetOperationRequest, operations.get, work),
        "WaitOperation": (operations_pb2.WaitOperationRequest, operations.wait, waits),
        "CancelOperation": (operations_pb2.CancelOperationRequest, operations.cancel, work),
        "DeleteOperation": (operations_pb2.DeleteOperationRequest, operations.delete, work),
    }
    return [
        Service(SERVICE.full_name, codecs, workers, most_items),
        Service(OPERATIONS.full_name, long, workers, most_items),
    ]
