"""The Open Inference Protocol without a client of its own: contents, hostile tensors, limits."""

from __future__ import annotations

import re
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import grpc
import numpy as np
import pytest

from omnicodec.codecs import Audio, Image, UnknownCodec, Video, available, describe, load
from omnicodec.inference import inference_pb2 as oip
from omnicodec.inference.inference_pb2_grpc import GRPCInferenceServiceStub
from omnicodec.service.convert import media_to_proto
from omnicodec.service.server import RunningServer, ServerOptions, running_server
from omnicodec.service.server.inference import models
from omnicodec.service.server.inference.requests import engine_request

RNG = np.random.default_rng(6)
PICTURE = Image(RNG.integers(0, 256, (20, 30, 3), np.uint8))
TYPES = {"u1": "UINT8", "i4": "INT32", "i8": "INT64", "f4": "FP32", "f8": "FP64"}


@pytest.fixture
def oip_stub(server: RunningServer) -> Any:
    unlimited = [("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1)]
    with grpc.insecure_channel(server.address, options=unlimited) as channel:
        yield GRPCInferenceServiceStub(channel)


def serialized(*elements: bytes) -> bytes:
    return b"".join(len(e).to_bytes(4, "little") + e for e in elements)


def request(model: str, _id: str = "", **tensors: Any) -> oip.ModelInferRequest:
    """Return a request with raw contents: arrays, or lists of bytes."""
    made = oip.ModelInferRequest(model_name=model, id=_id)
    for name, value in tensors.items():
        if isinstance(value, list):
            made.inputs.add(name=name, datatype="BYTES", shape=[len(value)])
            made.raw_input_contents.append(serialized(*value))
        else:
            kind = TYPES[value.dtype.str[1:]]
            made.inputs.add(name=name, datatype=kind, shape=value.shape)
            made.raw_input_contents.append(value.tobytes())
    return made


def back(model: str, answer: oip.ModelInferResponse) -> oip.ModelInferRequest:
    """Return the request that undoes what was answered."""
    made = oip.ModelInferRequest(model_name=model, raw_input_contents=answer.raw_output_contents)
    for output in answer.outputs:
        made.inputs.add(name=output.name, datatype=output.datatype, shape=output.shape)
    return made


def failure(call: Callable[[], object]) -> tuple[str, str]:
    with pytest.raises(grpc.RpcError) as caught:
        call()
    return caught.value.code().name, caught.value.details()


def item(modality: str) -> dict[str, Any]:
    """Return the tensors of a small item."""
    match modality:
        case "image":
            return {"PIXELS": PICTURE.pixels}
        case "audio":
            samples = RNG.normal(0, 0.1, (2, 3000)).astype("<f4")
            return {"SAMPLES": samples, "SAMPLE_RATE": np.array([8000], "<i4")}
        case "video":
            frames = np.tile(PICTURE.pixels[None, :16, :16], (2, 1, 1, 1))
            return {"FRAMES": frames, "FPS": np.array([30000, 1001], "<i8")}
        case _:
            return {"TEXT": [b"some words"]}


@pytest.mark.parametrize("codec", ["image/vq", "audio/rvq", "text/bytes"])
def test_any_codec_goes_there_and_back(oip_stub: Any, codec: str) -> None:
    name, tensors = codec.replace("/", "."), item(describe(codec).modality)
    encoded = oip_stub.ModelInfer(request(f"{name}.encode", **tensors))
    decoded = oip_stub.ModelInfer(back(f"{name}.decode", encoded))
    streams = oip_stub.ModelInfer(request(f"{name}.compress", **tensors))
    whole = oip_stub.ModelInfer(back(f"{name}.decompress", streams))
    assert decoded.outputs == whole.outputs
    assert decoded.raw_output_contents == whole.raw_output_contents
    first, (tensor_name, given) = decoded.outputs[0], next(iter(tensors.items()))
    assert first.name == tensor_name
    assert list(first.shape) == ([1] if isinstance(given, list) else [1, *given.shape])
    if describe(codec).lossless:
        assert decoded.raw_output_contents[0] == serialized(*given)


def test_typed_contents_are_taken_too(oip_stub: Any) -> None:
    asked = oip.ModelInferRequest(model_name="image.vq.encode")
    pixels = PICTURE.pixels
    tensor = asked.inputs.add(name="PIXELS", datatype="UINT8", shape=pixels.shape)
    tensor.contents.uint_contents.extend(pixels.ravel().tolist())
    answer = oip_stub.ModelInfer(asked)
    raw = oip_stub.ModelInfer(request("image.vq.encode", PIXELS=pixels))
    assert answer.raw_output_contents == raw.raw_output_contents
    decode = oip.ModelInferRequest(model_name="image.vq.decode")
    (tokens,) = load("image/vq").encode([PICTURE])
    for name, datatype, field, values in (
        ("TOKENS", "INT32", "int_contents", tokens.ids),
        ("GRID", "INT64", "int64_contents", np.array([tokens.grid])),
        ("EXTENT", "INT64", "int64_contents", np.array([[20, 30]])),
    ):
        tensor = decode.inputs.add(name=name, datatype=datatype, shape=values.shape)
        getattr(tensor.contents, field).extend(values.ravel().tolist())
    tensor = decode.inputs.add(name="FINGERPRINT", datatype="BYTES", shape=[1])
    tensor.contents.bytes_contents.append(tokens.fingerprint.encode())
    (seen,) = load("image/vq").decode([tokens])
    assert oip_stub.ModelInfer(decode).raw_output_contents[0] == seen.pixels.tobytes()


def test_items_of_different_sizes(oip_stub: Any) -> None:
    pictures = [PICTURE, Image(PICTURE.pixels[:7])]
    files = [picture.to_bytes(".png") for picture in pictures]
    encoded = oip_stub.ModelInfer(request("image.vq.encode", FILE=files))
    wanted = load("image/vq").encode(pictures)
    ids = np.concatenate([tokens.ids for tokens in wanted], 1)
    assert encoded.raw_output_contents[0] == ids.tobytes()
    asked = back("image.vq.decode", encoded)
    status, message = failure(lambda: oip_stub.ModelInfer(asked))
    assert status == "INVALID_ARGUMENT"
    assert "as files with the parameter format" in message
    asked.parameters["format"].string_param = ".png"
    made = oip_stub.ModelInfer(asked)
    assert [output.name for output in made.outputs] == ["FILE"]
    seen = load("image/vq").decode(wanted)
    assert made.raw_output_contents[0] == serialized(*[each.to_bytes(".png") for each in seen])


def test_videos_come_as_frames() -> None:
    video = Video(np.tile(PICTURE.pixels[None], (2, 1, 1, 1)), Fraction(30_000, 1001), None)
    model = models.find("video.inr.encode")
    asked = request("video.inr.encode", FRAMES=video.frames, FPS=np.array([[30_000, 1001]]))
    assert list(engine_request(asked, model, 8).request.items) == [media_to_proto(video)]


def test_batches_of_sound(oip_stub: Any) -> None:
    samples = RNG.normal(0, 0.1, (3, 1, 1000)).astype("<f4")
    rates = np.array([8_000], "<i4")
    answer = oip_stub.ModelInfer(request("audio.rvq.encode", SAMPLES=samples, SAMPLE_RATE=rates))
    wanted = load("audio/rvq").encode([Audio(each, 8_000) for each in samples])
    ids = np.concatenate([tokens.ids for tokens in wanted], 1)
    assert answer.raw_output_contents[0] == ids.tobytes()


def test_empty_batches(oip_stub: Any) -> None:
    encoded = oip_stub.ModelInfer(request("text.bytes.encode", TEXT=[]))
    assert [list(output.shape) for output in encoded.outputs] == [[1, 0], [0, 1], [1]]
    assert list(oip_stub.ModelInfer(back("text.bytes.decode", encoded)).outputs[0].shape) == [0]


def wrong(model: str, index: int = 0, **changes: Any) -> oip.ModelInferRequest:
    """Return a request of which one input is changed."""
    (tokens,) = load("image/vq").encode([PICTURE])
    made = (
        request(model, PIXELS=PICTURE.pixels)
        if model.endswith("encode")
        else request(
            model,
            TOKENS=tokens.ids,
            GRID=np.array([tokens.grid]),
            EXTENT=np.array([[20, 30]]),
            FINGERPRINT=[tokens.fingerprint.encode()],
        )
    )
    if "raw" in changes:
        made.raw_input_contents[index] = changes.pop("raw")
    if "shape" in changes:
        del made.inputs[index].shape[:]
    made.inputs[index].MergeFrom(oip.ModelInferRequest.InferInputTensor(**changes))
    return made


ENCODE, DECODE = "image.vq.encode", "image.vq.decode"
HUGE = 1 << 62


@pytest.mark.parametrize(
    ("make", "status", "message"),
    [
        (lambda: wrong(ENCODE, shape=[20, 30]), "INVALID_ARGUMENT", "shape"),
        (lambda: wrong(ENCODE, shape=[20, 30, 4]), "INVALID_ARGUMENT", "shape"),
        (lambda: wrong(ENCODE, shape=[-1, 30, 3]), "INVALID_ARGUMENT", "shape"),
        (lambda: wrong(ENCODE, shape=[]), "INVALID_ARGUMENT", "shape"),
        (lambda: wrong(ENCODE, shape=[1] * 1000), "INVALID_ARGUMENT", "shape"),
        (lambda: wrong(ENCODE, shape=[HUGE, HUGE, 3]), "RESOURCE_EXHAUSTED", "over any limit"),
        (lambda: wrong(ENCODE, shape=[HUGE, 0, 0, 3]), "RESOURCE_EXHAUSTED", "items are over"),
        (lambda: wrong(ENCODE, shape=[1 << 30, 0, 3]), "INVALID_ARGUMENT", "needs 0 bytes"),
        (lambda: wrong(ENCODE, raw=b"x"), "INVALID_ARGUMENT", "needs 1,800 bytes, not 1"),
        (lambda: wrong(ENCODE, datatype="FP16", name=""), "INVALID_ARGUMENT", "is of UINT8"),
        (
            lambda: wrong(ENCODE, contents={"uint_contents": [1]}),
            "INVALID_ARGUMENT",
            "contents beside the raw ones",
        ),
        (
            lambda: wrong(ENCODE, parameters={"shared_memory_region": {"string_param": "a"}}),
            "INVALID_ARGUMENT",
            "shares no memory",
        ),
        (lambda: wrong(DECODE, 1, raw=np.array([3, 3]).tobytes()), "INVALID_ARGUMENT", "positions"),
        (lambda: wrong(DECODE, 1, raw=np.array([-2, -2]).tobytes()), "INVALID_ARGUMENT", "GRID"),
        (lambda: wrong(DECODE, 1, raw=np.array([HUGE, 4]).tobytes()), "INVALID_ARGUMENT", "GRID"),
        (lambda: wrong(DECODE, 2, raw=np.array([-1, 1]).tobytes()), "INVALID_ARGUMENT", ""),
        (lambda: wrong(DECODE, 2, raw=np.array([HUGE, HUGE]).tobytes()), "RESOURCE_EXHAUSTED", ""),
        (lambda: wrong(DECODE, 0, raw=b"\xff" * 16), "INVALID_ARGUMENT", "is not in 0.."),
        (lambda: wrong(DECODE, 3, raw=b"\xff\xff\xff\xff"), "INVALID_ARGUMENT", "elements"),
        (lambda: wrong(DECODE, 3, raw=serialized(b"\xff" * 16)), "FAILED_PRECONDITION", "made by"),
        (lambda: wrong(DECODE, 3, shape=[2]), "INVALID_ARGUMENT", "FINGERPRINT"),
        (lambda: request(DECODE), "INVALID_ARGUMENT", "the input TOKENS is missing"),
        (lambda: request(ENCODE, FILE=[b""], PIXELS=PICTURE.pixels), "INVALID_ARGUMENT", "either"),
        (lambda: request("audio.rvq.encode", FILE=[b"x"]), "INVALID_ARGUMENT", ""),
        (
            lambda: request("audio.rvq.encode", SAMPLES=np.zeros((1, 9), "<f4")),
            "INVALID_ARGUMENT",
            "SAMPLE_RATE is missing",
        ),
        (
            lambda: request(
                "audio.rvq.encode",
                SAMPLES=np.zeros((1, 9), "<f4"),
                SAMPLE_RATE=np.array([-5], "<i4"),
            ),
            "INVALID_ARGUMENT",
            "cannot be sent",
        ),
        (
            lambda: request(
                "audio.rvq.encode",
                SAMPLES=np.full((1, 9), np.nan, "<f4"),
                SAMPLE_RATE=np.array([8000], "<i4"),
            ),
            "INVALID_ARGUMENT",
            "finite",
        ),
        (lambda: request("image/vq.encode"), "NOT_FOUND", "unknown model"),
        (lambda: request("image.vq@2.encode"), "NOT_FOUND", "unknown model"),
        (lambda: request("image.vq.train"), "NOT_FOUND", "unknown model"),
        (lambda: request("x" * 100_000), "NOT_FOUND", "unknown model"),
    ],
)
def test_wrong_tensors(
    oip_stub: Any, make: Callable[[], oip.ModelInferRequest], status: str, message: str
) -> None:
    found, said = failure(lambda: oip_stub.ModelInfer(make()))
    assert found == status, said
    assert message in said
    assert oip_stub.ModelInfer(request("text.bytes.encode", TEXT=[b"next"])).outputs


def test_parameters_are_checked(oip_stub: Any) -> None:
    asked = request("text.bytes.encode", TEXT=[b"a"])
    asked.parameters["triton_enable_empty_final_response"].bool_param = True
    asked.parameters["priority"].uint64_param = 3
    assert oip_stub.ModelInfer(asked).outputs
    for name, value in (
        ("quality", {"string_param": "50"}),
        ("quality", {"bool_param": True}),
        ("effort", {"int64_param": 1}),
        ("sequence_id", {"int64_param": 1}),
        ("quality", {}),
    ):
        asked = request("image.vq.encode", PIXELS=PICTURE.pixels)
        asked.parameters[name].CopyFrom(oip.InferParameter(**value))
        assert failure(lambda asked=asked: oip_stub.ModelInfer(asked))[0] == "INVALID_ARGUMENT"


def test_requests_may_state_their_own_time_limit(gate: Any, oip_stub: Any) -> None:
    asked = request("text.gated.encode", TEXT=[b"a"])
    asked.parameters["timeout"].int64_param = 200_000
    assert failure(lambda: oip_stub.ModelInfer(asked))[0] == "DEADLINE_EXCEEDED"
    gate.opened.set()
    del asked.parameters["timeout"]
    assert oip_stub.ModelInfer(asked).outputs
    (counts,) = oip_stub.ModelStatistics(
        oip.ModelStatisticsRequest(name="text.gated.encode")
    ).model_stats
    assert (counts.inference_stats.success.count, counts.inference_stats.fail.count) == (1, 1)


def test_a_full_server_is_live_and_ready(gate: Any, admitted: Any) -> None:
    options = ServerOptions(listen="127.0.0.1:0", max_queue=1)
    with running_server(options) as server, grpc.insecure_channel(server.address) as channel:
        stub = GRPCInferenceServiceStub(channel)
        call = stub.ModelInfer.future(request("text.gated.encode", TEXT=[b"a"]))
        admitted.wait_for(1)
        refused = request("text.bytes.encode", "again", TEXT=[b"b"])
        assert failure(lambda: stub.ModelInfer(refused))[0] == "RESOURCE_EXHAUSTED"
        (answer,) = stub.ModelStreamInfer(iter([refused]))
        assert "busy" in answer.error_message
        assert answer.infer_response.id == "again"
        assert stub.ServerLive(oip.ServerLiveRequest()).live
        assert stub.ServerReady(oip.ServerReadyRequest()).ready
        assert stub.ModelReady(oip.ModelReadyRequest(name="text.gated.encode")).ready
        gate.opened.set()
        assert call.result(timeout=20).outputs


def test_unknown_errors_do_not_leak_in_streams(gate: Any, oip_stub: Any) -> None:
    gate.opened.set()
    gate.error = ValueError("unsayable")
    asked = [request("text.gated.encode", TEXT=[b"a"]), request("text.bytes.encode", TEXT=[b"b"])]
    first, second = oip_stub.ModelStreamInfer(iter(asked))
    assert first.error_message.startswith("internal error; the server's log has it as ")
    assert second.infer_response.outputs


def test_models_are_those_of_the_codecs() -> None:
    found = list(models.every())
    assert len(found) == 4 * len(available())
    for model in found:
        assert models.find(model.name) == model
        names = [tensor.name for tensor in (*model.inputs, *model.outputs)]
        assert len(set(names)) == len(names)
        assert models.configuration(model).input
        assert models.metadata(model).outputs


@pytest.mark.parametrize("quality", [16, 32])
def test_real_values_go_there_and_back(oip_stub: Any, soft_codec: str, quality: int) -> None:
    pictures = [PICTURE, Image(PICTURE.pixels[:7])]
    asked = request("image.soft.encode", FILE=[each.to_bytes(".png") for each in pictures])
    asked.parameters["quality"].int64_param = quality
    encoded = oip_stub.ModelInfer(asked)
    codec = load(soft_codec)
    wanted = codec.encode(pictures, quality=quality)
    values = np.concatenate([tokens.soft for tokens in wanted]).T.astype("<f4")
    assert (encoded.outputs[0].datatype, list(encoded.outputs[0].shape)) == ("FP32", [3, 210])
    assert encoded.raw_output_contents[0] == values.tobytes()
    asked = back("image.soft.decode", encoded)
    asked.parameters["format"].string_param = ".png"
    decoded = oip_stub.ModelInfer(asked)
    files = [each.to_bytes(".png") for each in codec.decode(wanted)]
    assert decoded.raw_output_contents[0] == serialized(*files)


@pytest.mark.parametrize(
    ("values", "bits", "message"),
    [
        (np.full((3, 150), 0.1, "<f4"), 16, "16 bits, and TOKENS has values that need 32"),
        (np.full((3, 150), 1e6, "<f4"), 16, "need 32"),
        (np.full((3, 150), np.nan, "<f4"), 16, "finite"),
        (np.full((3, 150), np.inf, "<f4"), 32, "finite"),
        (np.zeros((3, 150), "<f4"), 64, "16 or 32 bits, not 64"),
        (np.zeros((3, 149), "<f4"), 32, "150 positions, TOKENS has 149"),
        (np.zeros((4, 150), "<f4"), 32, "not \\(3, any\\)"),
        (np.zeros((3, 150), "<i4"), 32, "is of FP32"),
    ],
)
def test_real_values_that_lie(
    oip_stub: Any, soft_codec: str, values: np.ndarray, bits: int, message: str
) -> None:
    tensors = {
        "TOKENS": values,
        "GRID": np.array([[10, 15]], "<i8"),
        "EXTENT": np.array([[20, 30, bits]], "<i8"),
        "FINGERPRINT": [load(soft_codec).spec.fingerprint.encode()],
    }
    status, told = failure(lambda: oip_stub.ModelInfer(request("image.soft.decode", **tensors)))
    assert status == "INVALID_ARGUMENT"
    assert re.search(message, told)


@pytest.mark.usefixtures("soft_codec")
def test_names_of_models() -> None:
    assert models.find("image.soft.encode").spec.soft_width == 3
    for name in ("image/soft.encode", "image.soft", "image.soft.train", "image.soft@1.encode",
                 "soft.encode", "hf:some/other.encode", "hf:.encode", ""):  # fmt: skip
        with pytest.raises(UnknownCodec):
            models.find(name)
