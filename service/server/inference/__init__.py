"""The Open Inference Protocol: codecs as models, for clients that know nothing of omnicodec.

    models.py       which models there are, and the tensors of each
    tensors.py      tensors in messages, as bytes and shapes
    requests.py     ModelInfer requests to requests of the engine
    answers.py      answers of the engine to ModelInfer responses
    statistics.py   what ModelStatistics counts
    calls.py        the methods

docs/inference.md describes models and tensors for users. An inference is a request of
CodecService in other clothes: the engine does the same work for it, under the same limits.
"""

from __future__ import annotations

from omnicodec.codecs import Unavailable

try:
    from omnicodec.service.server.inference.calls import INFERENCE, inference_services
except TypeError as e:  # protobuf has each message once in a process
    if "duplicate symbol" not in str(e):
        raise
    raise Unavailable(
        "a server cannot run in a process that has imported tritonclient: both define the messages "
        "of the Open Inference Protocol"
    ) from e

__all__ = ["INFERENCE", "inference_services"]
