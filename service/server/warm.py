"""The codecs of a server: loaded and warm, on each of its devices."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from omnicodec.codecs import Codec, CodecSpec
from omnicodec.codecs.registry import describe_named, load_named
from omnicodec.service.server.calls import current
from omnicodec.service.server.jobs import Job
from omnicodec.service.server.metrics import Metrics
from omnicodec.service.server.workers import Workers


class WarmCodecs:
    """Loads codecs once for each device of `workers`; methods may be called from any thread.

    `loaded` hears of each codec that was loaded, and of the seconds that took, from any thread.
    """

    def __init__(self, workers: Workers, metrics: Metrics) -> None:
        self.loaded: Callable[[str, float], None] = lambda *_: None
        self._workers, self._metrics = workers, metrics
        self._warm: dict[str, CodecSpec] = {}
        self._on_devices: dict[tuple[str, str], tuple[CodecSpec, Codec[Any]]] = {}

    def load(self, name: str) -> Codec[Any]:
        """Return a codec on the server's first device, warm; takes seconds the first time.

        Raises `NotAllowed` where the token of the call in progress is not for it.
        """
        spec = describe_named(name)
        current().uses(spec.name)
        first, *others = self._workers.compute.devices
        if self._warm.get(spec.name) is spec:
            return self.on(spec.name, first)
        began = time.monotonic()
        codec = self.on(spec.name, first)
        codec.warm()
        for device in others:
            self.on(spec.name, device)
        if self._warm.get(spec.name) is not spec:
            self._warm[spec.name] = spec
            seconds = time.monotonic() - began
            self._metrics.loaded(spec.name, seconds)
            self.loaded(spec.name, seconds)
        return codec

    async def ready(self, name: str, job: Job) -> Codec[Any]:
        """Return a codec; one that is not there yet is loaded in the thread of its device."""
        if self._warm.get((spec := describe_named(name)).name) is spec:
            return self.load(name)
        return await job.run(self._workers.compute, self.load, name)

    def on(self, name: str, device: str) -> Codec[Any]:
        """Return a codec on a device.

        Unlike `load` it does not look whether the device is there, which on a GPU waits for all
        that runs on it.
        """
        spec = describe_named(name)
        known = self._on_devices.get((name, device))
        if known is None or known[0] is not spec:
            known = self._on_devices[name, device] = spec, load_named(name, device=device)
        return known[1]

    def is_warm(self, name: str) -> bool:
        """Return whether a codec, named without a version, is loaded: nothing waits for it."""
        return name in self._warm
