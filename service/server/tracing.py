"""OpenTelemetry traces: a span for each call, within one a step, to a collector over OTLP.

The trace context of a client (`traceparent`, https://www.w3.org/TR/trace-context/) is gone on with.
Spans carry names, numbers and the status: nothing of what was sent.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, Final

from omnicodec.codecs import Unavailable
from omnicodec.service.server.calls import Call

_NANOSECONDS: Final = 1_000_000_000
_EXPORT_SECONDS: Final = 5
_TRACE_KEYS: Final = ("traceparent", "tracestate")

# What is the fault of a server, by the semantic conventions of OpenTelemetry for RPC.
_ERRORS: Final = frozenset(
    {"UNKNOWN", "DEADLINE_EXCEEDED", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS"}
)


class Tracer:
    """Follows calls, and tells nobody."""

    def begin(self, call: Call, metadata: Mapping[str, str | bytes]) -> None:
        """Note that a call came in, with its metadata."""

    def end(self, call: Call, code: str) -> None:
        """Note that a call is over."""

    def close(self) -> None:
        """Send what is still to be sent."""


class OpenTelemetryTracer(Tracer):
    """Makes spans of calls and gives them to `provider`, an SDK `TracerProvider`."""

    def __init__(self, provider: Any) -> None:
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        self._provider = provider
        self._tracer = provider.get_tracer("omnicodec")
        self._propagator = TraceContextTextMapPropagator()

    def begin(self, call: Call, metadata: Mapping[str, str | bytes]) -> None:
        from opentelemetry.trace import SpanKind, format_trace_id

        carrier = {key: value for key in _TRACE_KEYS if isinstance(value := metadata.get(key), str)}
        service, _, method = call.method.rpartition("/")
        span = self._tracer.start_span(
            call.method,
            context=self._propagator.extract(carrier),
            kind=SpanKind.SERVER,
            start_time=round(call.began * _NANOSECONDS),
            attributes={"rpc.system": "grpc", "rpc.service": service, "rpc.method": method},
        )
        call.trace_id = format_trace_id(span.get_span_context().trace_id)
        call.span = span

    def end(self, call: Call, code: str) -> None:
        from grpc import StatusCode
        from opentelemetry.trace import Status, set_span_in_context
        from opentelemetry.trace import StatusCode as SpanStatus

        span = call.span
        if span is None:
            return
        span.set_attributes(
            {
                "rpc.grpc.status_code": StatusCode[code].value[0],
                "omnicodec.request_id": call.id,
                "omnicodec.codec": call.codec,
                "omnicodec.items": call.items,
                "omnicodec.received_bytes": call.received,
                "omnicodec.sent_bytes": call.sent,
            }
        )
        if call.holder.name:
            span.set_attribute("enduser.id", call.holder.name)
        parent = set_span_in_context(span)
        for step, during in sorted(call.steps.items(), key=lambda item: item[1].began):
            child = self._tracer.start_span(
                step.value,
                context=parent,
                start_time=round(during.began * _NANOSECONDS),
                attributes={
                    "omnicodec.items": during.items,
                    "omnicodec.busy_seconds": during.seconds,
                },
            )
            if step == "compute" and call.batch:
                child.set_attribute("omnicodec.batch", call.batch)
            child.end(end_time=round(during.ended * _NANOSECONDS))
        if code in _ERRORS:
            span.set_status(Status(SpanStatus.ERROR, code))
        span.end()
        call.span = None

    def close(self) -> None:
        self._provider.shutdown()


def make_tracer(endpoint: str | None) -> Tracer:
    """Return what sends traces to the collector at a URL, or does not.

    The standard variables `OTEL_*` say the rest: sampling, headers, resource attributes. Raises
    `Unavailable` where the libraries are not installed.
    """
    if endpoint is None:
        return Tracer()
    try:
        from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ModuleNotFoundError as e:
        raise Unavailable('traces need: pip install "omnicodec[otel]"') from e
    names = {} if os.environ.get("OTEL_SERVICE_NAME") else {"service.name": "omnicodec"}
    provider = TracerProvider(resource=Resource.create(names))
    exporter = OTLPSpanExporter(endpoint=endpoint, timeout=_EXPORT_SECONDS)
    provider.add_span_processor(BatchSpanProcessor(exporter))
    return OpenTelemetryTracer(provider)
