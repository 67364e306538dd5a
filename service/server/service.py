"""The way of a call: in by the event loop, through admission, out as answer or status."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import grpc
from google.protobuf.message import Message
from grpc_status import rpc_status

from omnicodec.service.server import wire
from omnicodec.service.server.admission import Admission
from omnicodec.service.server.engine import Engine
from omnicodec.service.server.jobs import Job, Workers
from omnicodec.service.server.options import ServerOptions
from omnicodec.service.server.statuses import status_of
from omnicodec.v1 import codec_service_pb2 as pb

SERVICE = pb.DESCRIPTOR.services_by_name["CodecService"]

Method = Callable[[Any, Job], Awaitable[Message]]


class CodecService:
    """Answers the calls of `omnicodec.v1.CodecService`."""

    def __init__(self, options: ServerOptions, workers: Workers, admission: Admission) -> None:
        self._options = options
        self._workers = workers
        self._admission = admission
        engine = Engine(options, workers)
        self.methods: dict[str, tuple[type[Message], Method]] = {
            "ListCodecs": (pb.ListCodecsRequest, engine.list_codecs),
            "GetCodec": (pb.GetCodecRequest, engine.get_codec),
            "Encode": (pb.EncodeRequest, engine.encode),
            "Decode": (pb.DecodeRequest, engine.decode),
            "Compress": (pb.CompressRequest, engine.compress),
            "Decompress": (pb.DecompressRequest, engine.decompress),
        }

    def handlers(self) -> grpc.GenericRpcHandler:
        """Return what a server registers.

        Requests and answers are bytes to gRPC: it would parse requests on the event loop,
        before anyone can say no.
        """
        handlers = {
            name: grpc.unary_unary_rpc_method_handler(self._handler(name, kind, method))
            for name, (kind, method) in self.methods.items()
        }
        return grpc.method_handlers_generic_handler(SERVICE.full_name, handlers)

    def _handler(
        self, name: str, kind: type[Message], method: Method
    ) -> Callable[[bytes, grpc.aio.ServicerContext], Awaitable[bytes]]:
        async def handle(data: bytes, context: grpc.aio.ServicerContext) -> bytes:
            job = Job(context.time_remaining())
            try:
                self._admission.enter(len(data))
                # Not earlier than this is the answer sent, and its memory free again.
                context.add_done_callback(lambda _: self._admission.leave(len(data)))
                request = await job.run(
                    self._workers.cpu, wire.parse, kind, data, self._options.max_items
                )
                answer: bytes = (await method(request, job)).SerializeToString()
                return answer
            except Exception as error:  # CancelledError is none: that call needs no answer
                status = rpc_status.to_status(status_of(error, name))
                await context.abort_with_status(status)
                raise  # not reached: abort_with_status raises
            finally:
                job.stop()

        return handle
