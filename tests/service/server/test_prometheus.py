"""Metrics, as Prometheus reads them from a running server."""

from __future__ import annotations

import os
import urllib.request
from collections.abc import Iterator

import grpc
import pytest
from prometheus_client.parser import text_string_to_metric_families

from omnicodec.codecs import Unavailable
from omnicodec.service.server import RunningServer, ServerOptions, running_server
from omnicodec.service.server.metrics import Metrics, Step
from omnicodec.service.server.prometheus import ProcessCollector, PrometheusMetrics
from omnicodec.v1 import codec_service_pb2 as pb
from omnicodec.v1.codec_service_pb2_grpc import CodecServiceStub

from ..operation_calls import until

LOCAL = "127.0.0.1:0"
ENCODE = "omnicodec.v1.CodecService/Encode"


def scrape(address: str) -> dict[tuple[str, tuple[str, ...]], float]:
    """Return the samples by name and values of labels."""
    with urllib.request.urlopen(f"http://{address}/metrics", timeout=20) as answer:
        text = answer.read().decode()
    return {
        (sample.name, tuple(value for _, value in sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


@pytest.fixture
def watched() -> Iterator[tuple[RunningServer, CodecServiceStub]]:
    options = ServerOptions(listen=LOCAL, metrics_listen=LOCAL)
    with running_server(options) as server, grpc.insecure_channel(server.address) as channel:
        yield server, CodecServiceStub(channel)


def test_requests_are_counted(watched) -> None:
    server, stub = watched
    request = pb.EncodeRequest(codec="text/bytes", items=[{"text": b"abc"}] * 3)
    for _ in range(2):
        stub.Encode(request)
    for name in ("text/none", "made/up"):
        with pytest.raises(grpc.RpcError):
            stub.Encode(pb.EncodeRequest(codec=name))
    # Calls are counted when they are over, just after the client has its answer.
    until(
        lambda: (
            scrape(server.metrics_address).get(("omnicodec_request_seconds_count", (ENCODE,))) == 4
        )
    )
    found = scrape(server.metrics_address)
    assert found["omnicodec_requests_total", ("OK", ENCODE)] == 2
    assert found["omnicodec_requests_total", ("NOT_FOUND", ENCODE)] == 2
    assert found["omnicodec_request_seconds_count", (ENCODE,)] == 4
    assert found["omnicodec_requests_in_flight", (ENCODE,)] == 0
    assert found["omnicodec_received_bytes_total", (ENCODE,)] >= 2 * request.ByteSize()
    assert found["omnicodec_sent_bytes_total", (ENCODE,)] > 0
    assert found["omnicodec_codec_loads_total", ("text/bytes",)] == 1
    assert found["omnicodec_batch_size_sum", ("text/bytes",)] == 6
    assert found["omnicodec_process_resident_memory_bytes", ("0",)] > 1e6
    assert found["omnicodec_process_open_files", ("0",)] > 1
    assert found["omnicodec_process_threads", ("0",)] > 1
    # What clients make up becomes no series, which would be kept for good.
    assert not [key for key in found if "made/up" in key[1]]


def test_a_port_that_is_taken(watched) -> None:
    server, _ = watched
    options = ServerOptions(listen=LOCAL, metrics_listen=server.metrics_address)
    with pytest.raises(Unavailable, match="metrics"), running_server(options):
        pass


def test_every_number_is_counted() -> None:
    metrics = PrometheusMetrics()
    metrics.step("image/vq", Step.QUEUE, 0.02)
    metrics.batch("image/vq", 8)
    metrics.tokens("image/vq", 100)
    metrics.compressed("image/vq", 1000, 10)
    metrics.compressed("image/vq", 10, 1000)
    metrics.loaded("image/vq", 1.5)
    metrics.refused("queue")
    metrics.waiting(3, 300)
    value = metrics.registry.get_sample_value
    codec = {"codec": "image/vq"}
    assert value("omnicodec_step_seconds_sum", {**codec, "step": "queue"}) == 0.02
    assert value("omnicodec_batch_size_bucket", {**codec, "le": "8.0"}) == 1
    assert value("omnicodec_batch_size_bucket", {**codec, "le": "4.0"}) == 0
    assert value("omnicodec_tokens_total", codec) == 100
    assert value("omnicodec_compressed_media_bytes_total", codec) == 1010
    assert value("omnicodec_compressed_stream_bytes_total", codec) == 1010
    assert value("omnicodec_saved_bytes_total", codec) == 990
    assert value("omnicodec_codec_load_seconds_total", codec) == 1.5
    assert value("omnicodec_refused_total", {"reason": "queue"}) == 1
    assert value("omnicodec_admitted_requests") == 3
    assert value("omnicodec_admitted_bytes") == 300


def test_the_interface_is_all_there_is() -> None:
    public = {name for name in vars(Metrics) if not name.startswith("_")}
    assert public == {name for name in vars(PrometheusMetrics) if not name.startswith("_")}


def test_processes_that_are_gone() -> None:
    collector = ProcessCollector(lambda: {0: os.getpid(), 1: 1 << 30})
    samples = [sample for family in collector.collect() for sample in family.samples]
    assert {sample.labels["process"] for sample in samples} == {"0"}
