"""Calls by reflection alone, as grpcurl makes them: no stubs, messages built from descriptors."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import grpc
import pytest
from google.protobuf import json_format
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import (
    ProtoReflectionDescriptorDatabase,
)

from omnicodec.codecs import Text, load
from omnicodec.service.server import RunningServer


class Reflected:
    """Methods of a server that is known by its address alone; messages are JSON objects."""

    def __init__(self, channel: grpc.Channel) -> None:
        self._channel = channel
        self.database = ProtoReflectionDescriptorDatabase(channel)
        self._pool = DescriptorPool(self.database)

    def call(self, service: str, method: str, *requests: dict[str, Any]) -> list[dict[str, Any]]:
        found = self._pool.FindServiceByName(service).FindMethodByName(method)
        asked, answered = GetMessageClass(found.input_type), GetMessageClass(found.output_type)
        streams = found.client_streaming
        make = self._channel.stream_stream if streams else self._channel.unary_unary
        call = make(
            f"/{service}/{method}",
            request_serializer=asked.SerializeToString,
            response_deserializer=answered.FromString,
        )
        messages = [json_format.ParseDict(request, asked()) for request in requests]
        answers = call(iter(messages)) if streams else [call(messages[0])]
        return [json_format.MessageToDict(answer) for answer in answers]


@pytest.fixture
def reflected(server: RunningServer) -> Iterator[Reflected]:
    with grpc.insecure_channel(server.address) as channel:
        yield Reflected(channel)


def test_all_services_are_listed(reflected: Reflected) -> None:
    services = reflected.database.get_services()
    assert len(set(services)) == len(services)
    assert {
        "omnicodec.v1.CodecService",
        "inference.GRPCInferenceService",
        "google.longrunning.Operations",
        "grpc.health.v1.Health",
        "grpc.reflection.v1alpha.ServerReflection",
    } == set(services)


def test_calls_without_stubs(reflected: Reflected) -> None:
    service = "omnicodec.v1.CodecService"
    (codec,) = reflected.call(service, "GetCodec", {"name": "text/bytes"})
    assert codec["codebookSizes"] == [256]
    ids = "aAAAAGkAAAA="  # "hi" as int32
    (encoded,) = reflected.call(
        service, "Encode", {"codec": "text/bytes", "items": [{"text": "aGk="}]}
    )
    assert encoded["tokens"][0]["ids"] == ids
    pieces = reflected.call(
        service,
        "EncodeStream",
        {"config": {"codec": "text/bytes"}},
        {"piece": {"text": "aA=="}},
        {"piece": {"text": "aQ=="}},
    )
    assert [piece["tokens"]["ids"] for piece in pieces] == [ids]
    (tokens,) = load("text/bytes").encode([Text("hi")])
    assert pieces[0]["tokens"]["fingerprint"] == tokens.fingerprint


def test_inference_without_stubs(reflected: Reflected) -> None:
    service = "inference.GRPCInferenceService"
    assert reflected.call(service, "ServerLive", {}) == [{"live": True}]
    asked = {
        "modelName": "text.bytes.encode",
        "inputs": [
            {
                "name": "TEXT",
                "datatype": "BYTES",
                "shape": [1],
                "contents": {"bytesContents": ["aGk="]},
            }
        ],
    }
    (answer,) = reflected.call(service, "ModelInfer", asked)
    assert answer["rawOutputContents"][0] == "aAAAAGkAAAA="
    (streamed,) = reflected.call(service, "ModelStreamInfer", asked)
    assert streamed["inferResponse"]["outputs"] == answer["outputs"]
