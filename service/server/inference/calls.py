"""The methods of `inference.GRPCInferenceService`."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from importlib.metadata import version
from typing import Final

from google.protobuf.message import Message

from omnicodec.codecs import InvalidInput
from omnicodec.inference import inference_pb2 as oip
from omnicodec.service.server.admission import Admission
from omnicodec.service.server.calls import current
from omnicodec.service.server.engine import Engine
from omnicodec.service.server.inference import models
from omnicodec.service.server.inference.answers import EngineAnswer, infer_response
from omnicodec.service.server.inference.models import Model, Verb
from omnicodec.service.server.inference.requests import engine_request, seconds_of
from omnicodec.service.server.inference.statistics import Statistics, seconds_at
from omnicodec.service.server.jobs import Job, Stopped
from omnicodec.service.server.options import ServerOptions
from omnicodec.service.server.service import Method, Service
from omnicodec.service.server.statuses import status_of
from omnicodec.service.server.stream_calls import Room, StreamCall, StreamService
from omnicodec.service.server.workers import Workers

INFERENCE: Final = oip.DESCRIPTOR.services_by_name["GRPCInferenceService"]

EXTENSIONS: Final = ("model_configuration", "model_repository", "statistics")

_GRPC_ERROR: Final = "triton_grpc_error"
"""The metadata with which a client asks for statuses instead of error messages in a stream."""


class _Uncounted(Admission):
    """Lets everything in, at any time."""

    def enter(self, nbytes: int) -> None:
        pass

    def leave(self, nbytes: int) -> None:
        pass


class Inference:
    """Answers each method; inferences are counted by `work`, those in a stream one by one."""

    def __init__(
        self,
        options: ServerOptions,
        engine: Engine,
        workers: Workers,
        work: Admission,
        ready: Callable[[], bool],
    ) -> None:
        self._options, self._engine, self._workers = options, engine, workers
        self._work, self._ready = work, ready
        self._statistics = Statistics()

    async def server_live(self, _: oip.ServerLiveRequest, job: Job) -> oip.ServerLiveResponse:
        return oip.ServerLiveResponse(live=True)

    async def server_ready(self, _: oip.ServerReadyRequest, job: Job) -> oip.ServerReadyResponse:
        return oip.ServerReadyResponse(ready=self._ready())

    async def model_ready(self, request: oip.ModelReadyRequest, job: Job) -> oip.ModelReadyResponse:
        model = await job.run(self._workers.cpu, models.find, request.name, request.version)
        return oip.ModelReadyResponse(ready=self._is_ready(model))

    async def server_metadata(
        self, _: oip.ServerMetadataRequest, job: Job
    ) -> oip.ServerMetadataResponse:
        return oip.ServerMetadataResponse(
            name="omnicodec", version=version("omnicodec"), extensions=EXTENSIONS
        )

    async def model_metadata(
        self, request: oip.ModelMetadataRequest, job: Job
    ) -> oip.ModelMetadataResponse:
        model = await job.run(self._workers.cpu, models.find, request.name, request.version)
        return models.metadata(model)

    async def model_config(
        self, request: oip.ModelConfigRequest, job: Job
    ) -> oip.ModelConfigResponse:
        model = await job.run(self._workers.cpu, models.find, request.name, request.version)
        return oip.ModelConfigResponse(config=models.configuration(model))

    async def model_statistics(
        self, request: oip.ModelStatisticsRequest, job: Job
    ) -> oip.ModelStatisticsResponse:
        known = await self._models(request.name, request.version, job)
        counts = [self._statistics.message(model) for model in known]
        return oip.ModelStatisticsResponse(model_stats=counts)

    async def repository_index(
        self, request: oip.RepositoryIndexRequest, job: Job
    ) -> oip.RepositoryIndexResponse:
        answer = oip.RepositoryIndexResponse()
        for model in await self._models("", "", job):
            if self._is_ready(model):
                answer.models.add(name=model.name, version=model.version, state="READY")
            elif not request.ready:
                answer.models.add(
                    name=model.name,
                    version=model.version,
                    state="UNAVAILABLE",
                    reason="not loaded yet: its first request loads it",
                )
        return answer

    async def repository_model_load(
        self, request: oip.RepositoryModelLoadRequest, job: Job
    ) -> oip.RepositoryModelLoadResponse:
        if request.parameters:
            raise InvalidInput("models are loaded as they are, without parameters")
        model = await job.run(self._workers.cpu, models.find, request.model_name)
        await self._engine.codecs.ready(model.spec.name, job)
        return oip.RepositoryModelLoadResponse()

    async def model_infer(self, request: oip.ModelInferRequest, job: Job) -> oip.ModelInferResponse:
        """Return the answer to one inference.

        Raises `UnknownCodec` for an unknown model, `InvalidInput` for tensors that are not its
        own, `Stopped` after the request's own `timeout`, and what the engine raises.
        """
        finding = models.find, request.model_name, request.model_version
        model = await job.run(self._workers.cpu, *finding)
        call, began = current(), time.monotonic()
        before = seconds_at(call)
        own = Job(_least(job.seconds_left(), seconds_of(request)), bulk=job.bulk)
        try:
            async with asyncio.timeout(own.seconds_left()):
                items, response = await self._infer(request, model, own)
        except TimeoutError:
            self._statistics.failed(model, time.monotonic() - began)
            raise Stopped from None
        except Exception:
            self._statistics.failed(model, time.monotonic() - began)
            raise
        finally:
            own.stop()
        steps = {step: s - before.get(step, 0.0) for step, s in seconds_at(call).items()}
        self._statistics.succeeded(model, items, time.monotonic() - began, steps)
        return response

    async def model_stream_infer(
        self, call: StreamCall[oip.ModelInferRequest]
    ) -> AsyncIterator[oip.ModelStreamInferResponse]:
        """Answer one request after the other, in order; errors end the stream if that is wished."""
        strict = call.metadata.get(_GRPC_ERROR) == "true"
        while (request := await call.read()) is not None:
            size = request.ByteSize()
            entered = False
            try:
                self._work.enter(size)
                entered = True
                response = await self.model_infer(request, call.job)
                response.parameters["triton_final_response"].bool_param = True
                yield oip.ModelStreamInferResponse(infer_response=response)
            except Exception as error:
                if strict:
                    raise
                message = status_of(error, "ModelStreamInfer").message
                failed = oip.ModelInferResponse(
                    model_name=request.model_name,
                    model_version=request.model_version,
                    id=request.id,
                )
                yield oip.ModelStreamInferResponse(error_message=message, infer_response=failed)
            finally:
                if entered:
                    self._work.leave(size)

    async def _infer(
        self, request: oip.ModelInferRequest, model: Model, job: Job
    ) -> tuple[int, oip.ModelInferResponse]:
        cpu, most = self._workers.cpu, self._options.max_items
        asked = await job.run(cpu, engine_request, request, model, most)
        methods = {
            Verb.ENCODE: self._engine.encode,
            Verb.DECODE: self._engine.decode,
            Verb.COMPRESS: self._engine.compress,
            Verb.DECOMPRESS: self._engine.decompress,
        }
        answer: EngineAnswer = await methods[model.verb](asked.request, job)  # type: ignore[operator]
        response = await job.run(cpu, infer_response, request, model, answer)
        return asked.items, response

    async def _models(self, name: str, version: str, job: Job) -> list[Model]:
        """Return one model, or all where no name is given."""

        def work() -> list[Model]:
            return [models.find(name, version)] if name else list(models.every())

        return await job.run(self._workers.cpu, work)

    def _is_ready(self, model: Model) -> bool:
        return self._engine.codecs.is_warm(model.spec.name)


def inference_services(
    options: ServerOptions,
    engine: Engine,
    workers: Workers,
    *,
    work: Admission,
    room: Room,
) -> list[Service | StreamService]:
    """Return the service, of which one part takes streams.

    Inferences are counted by `work`, and there is `room` for streams. Questions about the server's
    health are not counted: a full server is a healthy one.
    """
    uncounted = _Uncounted(1, 1)
    answers = Inference(options, engine, workers, work, lambda: not room.closed)
    methods: dict[str, tuple[type[Message], Method, Admission]] = {
        "ServerLive": (oip.ServerLiveRequest, answers.server_live, uncounted),
        "ServerReady": (oip.ServerReadyRequest, answers.server_ready, uncounted),
        "ModelReady": (oip.ModelReadyRequest, answers.model_ready, uncounted),
        "ServerMetadata": (oip.ServerMetadataRequest, answers.server_metadata, uncounted),
        "ModelMetadata": (oip.ModelMetadataRequest, answers.model_metadata, work),
        "ModelConfig": (oip.ModelConfigRequest, answers.model_config, work),
        "ModelStatistics": (oip.ModelStatisticsRequest, answers.model_statistics, work),
        "RepositoryIndex": (oip.RepositoryIndexRequest, answers.repository_index, work),
        "RepositoryModelLoad": (
            oip.RepositoryModelLoadRequest,
            answers.repository_model_load,
            work,
        ),
        "ModelInfer": (oip.ModelInferRequest, answers.model_infer, work),
    }
    in_streams = {"ModelStreamInfer": (oip.ModelInferRequest, answers.model_stream_infer)}
    return [
        Service(INFERENCE.full_name, methods, workers, options.max_items),
        StreamService(
            INFERENCE.full_name,
            in_streams,
            workers,
            room,
            idle_seconds=options.stream_idle_seconds,
            most_items=options.max_items,
        ),
    ]


def _least(*seconds: float | None) -> float | None:
    """Return the shortest of some times; None is one without an end."""
    return min((s for s in seconds if s is not None), default=None)
