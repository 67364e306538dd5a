"""Traces: a span a call, with the client's trace for a parent."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent import futures

import grpc
import pytest
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc
from opentelemetry.proto.trace.v1 import trace_pb2

from omnicodec.codecs import Unavailable
from omnicodec.service.server import ServerOptions, running_server
from omnicodec.service.server.calls import Call
from omnicodec.service.server.metrics import Step
from omnicodec.service.server.tracing import make_tracer
from omnicodec.v1 import codec_service_pb2 as pb
from omnicodec.v1.codec_service_pb2_grpc import CodecServiceStub

LOCAL = "127.0.0.1:0"
TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


class Collector(trace_service_pb2_grpc.TraceServiceServicer):
    def __init__(self) -> None:
        self.spans: list[trace_pb2.Span] = []

    def Export(self, request, context):  # noqa: N802
        for resource in request.resource_spans:
            for scope in resource.scope_spans:
                self.spans += scope.spans
        return trace_service_pb2.ExportTraceServiceResponse()


@pytest.fixture
def collector() -> Iterator[tuple[str, Collector]]:
    found = Collector()
    server = grpc.server(futures.ThreadPoolExecutor(2))
    trace_service_pb2_grpc.add_TraceServiceServicer_to_server(found, server)
    port = server.add_insecure_port(LOCAL)
    server.start()
    yield f"http://127.0.0.1:{port}", found
    server.stop(None)


def attributes(span: trace_pb2.Span) -> dict[str, object]:
    return {a.key: getattr(a.value, a.value.WhichOneof("value")) for a in span.attributes}


def test_calls_become_spans(collector: tuple[str, Collector]) -> None:
    endpoint, found = collector
    options = ServerOptions(listen=LOCAL, trace_endpoint=endpoint)
    with running_server(options) as server, grpc.insecure_channel(server.address) as channel:
        stub = CodecServiceStub(channel)
        stub.Encode(
            pb.EncodeRequest(codec="text/bytes", items=[{"text": b"private"}]),
            metadata=[("traceparent", f"00-{TRACE}-{PARENT}-01"), ("x-request-id", "mine")],
        )
        with pytest.raises(grpc.RpcError):
            stub.GetCodec(
                pb.GetCodecRequest(name="private"), metadata=[("traceparent", "00-zz-private")]
            )
    calls = {
        span.name: span for span in found.spans if span.kind == trace_pb2.Span.SPAN_KIND_SERVER
    }
    encode = calls["omnicodec.v1.CodecService/Encode"]
    assert encode.trace_id.hex() == TRACE
    assert encode.parent_span_id.hex() == PARENT
    assert attributes(encode)["rpc.grpc.status_code"] == 0
    assert attributes(encode)["omnicodec.request_id"] == "mine"
    assert attributes(encode)["omnicodec.codec"] == "text/bytes"
    assert encode.end_time_unix_nano > encode.start_time_unix_nano
    get = calls["omnicodec.v1.CodecService/GetCodec"]
    assert get.trace_id.hex() != TRACE
    assert not get.parent_span_id
    assert attributes(get)["rpc.grpc.status_code"] == 5
    assert "private" not in str(found.spans)


def test_steps_become_children(collector: tuple[str, Collector]) -> None:
    endpoint, found = collector
    tracer = make_tracer(endpoint)
    call = Call(method="package.Service/Method")
    tracer.begin(call, {})
    for step in (Step.OPEN, Step.QUEUE, Step.COMPUTE, Step.COMPUTE, Step.SAVE):
        call.did("image/vq", step, 0.01, batch=4 if step is Step.COMPUTE else 0)
    tracer.end(call, "INTERNAL")
    tracer.close()
    (root,) = (span for span in found.spans if span.kind == trace_pb2.Span.SPAN_KIND_SERVER)
    children = {span.name: span for span in found.spans if span.parent_span_id == root.span_id}
    assert set(children) == {"open", "queue", "compute", "save"}
    assert attributes(children["compute"])["omnicodec.items"] == 2
    assert attributes(children["compute"])["omnicodec.batch"] == 4
    assert attributes(children["compute"])["omnicodec.busy_seconds"] == pytest.approx(0.02)
    assert root.status.code == trace_pb2.Status.STATUS_CODE_ERROR
    assert call.trace_id == root.trace_id.hex()


def test_without_the_libraries_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)
    with pytest.raises(Unavailable, match=r"omnicodec\[otel\]"):
        make_tracer("http://127.0.0.1:1")
