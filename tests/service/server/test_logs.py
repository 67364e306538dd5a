"""Structured logs, of a server process: a line a request, and nothing of what was sent."""

from __future__ import annotations

import json
import logging
import signal
import subprocess
import sys

import grpc
import pytest

from omnicodec.codecs import InvalidInput
from omnicodec.service.server.logs import JsonFormatter
from omnicodec.v1 import codec_service_pb2 as pb
from omnicodec.v1.codec_service_pb2_grpc import CodecServiceStub

WORD = "nobody-logs-this"


def test_a_server_logs_json(tmp_path) -> None:
    program = [sys.executable, "-m", "omnicodec.service.cli", "serve", "--listen", "127.0.0.1:0"]
    with subprocess.Popen(
        [*program, "--log-format", "json"], stderr=subprocess.PIPE, text=True, cwd=tmp_path
    ) as process:
        try:
            first = json.loads(process.stderr.readline())
            address = first["message"].split()[-1]
            with grpc.insecure_channel(address) as channel:
                stub = CodecServiceStub(channel)
                items = [{"text": WORD.encode()}, {"text": b""}]
                stub.Encode(
                    pb.EncodeRequest(codec="text/bytes", items=items),
                    metadata=[("x-request-id", "mine-1"), ("x-other", WORD)],
                )
                for request_id in ("a b", "x" * 65, WORD + "\u00fc"):
                    metadata = [("x-request-id-bin", request_id.encode())]
                    if request_id.isascii():
                        metadata.append(("x-request-id", request_id))
                    with pytest.raises(grpc.RpcError):
                        stub.GetCodec(pb.GetCodecRequest(name=WORD), metadata=metadata)
            process.send_signal(signal.SIGTERM)
            rest = process.stderr.read()
            assert process.wait(20) == 0
        finally:
            process.kill()
    lines = [json.loads(line) for line in rest.splitlines()]
    for line in (first, *lines):
        assert {"time", "level", "logger", "message"} <= set(line)
    assert WORD not in rest
    requests = [line for line in lines if line["logger"] == "omnicodec.requests"]
    encode = requests[0]
    assert encode["id"] == "mine-1"
    assert encode["method"] == "omnicodec.v1.CodecService/Encode"
    assert encode["code"] == "OK"
    assert encode["codec"] == "text/bytes"
    assert encode["received_bytes"] > len(WORD)
    assert encode["sent_bytes"] > 4 * len(WORD)
    assert 0 < encode["seconds"] < 60
    assert "token" not in encode
    assert [line["code"] for line in requests[1:]] == ["NOT_FOUND"] * 3
    assert len({line["id"] for line in requests}) == 4
    assert all(len(line["id"]) == 16 for line in requests[1:])
    assert lines[-1]["message"].startswith("stopped")


def test_lines_are_lines_and_quote_no_exception() -> None:
    try:
        raise InvalidInput(WORD)
    except InvalidInput:
        record = logging.LogRecord("n", logging.ERROR, "", 1, 'a\n"%s"', ("ü",), sys.exc_info())
    line = JsonFormatter(3).format(record)
    assert "\n" not in line
    assert WORD not in line
    parsed = json.loads(line)
    assert parsed["message"] == 'a\n"ü"'
    assert (parsed["error"], parsed["process"]) == ("InvalidInput", 3)
