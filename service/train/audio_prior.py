"""The prior of `audio/rvq`: the order of the codes, and the mixer, from the codes of sounds."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray

from omnicodec.codecs import InvalidInput
from omnicodec.codecs.audio._prior import audio_schema
from omnicodec.models import weights
from omnicodec.models.audio.rvq import AudioRVQ, AudioRVQConfig, build
from omnicodec.service.train.files import write_prior
from omnicodec.service.train.mixer import MixerSettings, fit_mixer
from omnicodec.service.train.mixer.items import Items, grid_item
from omnicodec.service.train.mixer.order import entry_order
from omnicodec.service.train.sounds import Samples, read_sounds

Ids = NDArray[np.integer[Any]]
Log = Callable[..., None]

CHUNK: Final = 1 << 10
"""Frames of a training item, as many as a chunk of the codec has positions."""

SHORT_CHUNK: Final = 50
"""Frames of some of the items that the mixers learn on: chunks of live streams are short."""

_SECONDS: Final = 20
"""Of sound that the network codes at once."""


@dataclass(frozen=True, kw_only=True)
class AudioPriorSettings:
    """Settings of a fit.

    `held_out` is the share of sounds that only maps and mixers learn on, `short` the share of
    these that is cut into short chunks. `mixer` has the sizes of the static table.
    """

    held_out: float = 0.1
    short: float = 0.2
    seed: int = 0
    mixer: MixerSettings = field(
        default_factory=lambda: MixerSettings(counted=18, shipped=18, recount=False)
    )


def fit_audio_prior(
    codes: Sequence[Ids], entries: int, settings: AudioPriorSettings, log: Log
) -> dict[str, NDArray[Any]]:
    """Return the tensors of `AudioPrior`, to be written as `prior.safetensors.zst`.

    `codes` are those of whole sounds of one channel, integers `(K, frames)` with all K
    codebooks in use. `log` is told of the stages by keywords. Some minutes on one core for
    three hours of sound. Raises `InvalidInput` without codes.
    """
    codes = [ids for ids in codes if ids.shape[1]]
    if not codes:
        raise InvalidInput("a prior cannot be fitted without codes")
    order = entry_order(codes, entries)
    log(stage=0, sounds=float(len(codes)), frames=float(sum(ids.shape[1] for ids in codes)))
    rng = np.random.default_rng(settings.seed)
    drawn = rng.permutation(len(codes))
    held = max(1, round(settings.held_out * len(codes)))
    # Chunks of all sounds alternate, so that what comes last does not say most.
    shorts = rng.random(held) < settings.short
    seen = [item for k in drawn[held:] for item in _items(codes[k], order, CHUNK)]
    held_out = [
        item
        for k, is_short in zip(drawn[:held], shorts, strict=True)
        for item in _items(codes[k], order, SHORT_CHUNK if is_short else CHUNK)
    ]
    schema = audio_schema(len(order), max(1, (entries - 1).bit_length()))
    tensors = fit_mixer(schema, _shuffled(seen, rng), _shuffled(held_out, rng), settings.mixer, log)
    return {**tensors, "order": order}


def _items(ids: Ids, order: NDArray[np.int32], chunk: int) -> list[tuple[Any, Any]]:
    places = np.argsort(order, 1)
    numbers = np.take_along_axis(places, ids.astype(np.int64), 1).astype(np.int32)
    frames = numbers.shape[1]
    return [
        grid_item(numbers[:, start : start + chunk], (min(chunk, frames - start), 1))
        for start in range(0, frames, chunk)
    ]


def _shuffled(items: list[tuple[Any, Any]], rng: np.random.Generator) -> Items:
    return [items[k] for k in rng.permutation(len(items))]


@torch.inference_mode()
def code_sounds(network: AudioRVQ, sounds: Iterable[Samples]) -> list[NDArray[np.int16]]:
    """Return the codes of sounds, int16 `(T,)` each, in all codebooks: `(K, frames)` each."""
    config = network.config
    device = next(network.parameters()).device
    step = _SECONDS * config.rate // config.hop * config.hop
    codes = []
    for samples in sounds:
        found = []
        for start in range(0, samples.size // config.hop * config.hop, step):
            size = min(step, samples.size - start) // config.hop * config.hop
            piece = torch.from_numpy(samples[start : start + size].astype(np.float32) / 32768)
            ids = network.encode(piece[None].to(device), config.books)
            found.append(ids[:, 0].to(torch.int16).cpu().numpy())
        if found:
            codes.append(np.concatenate(found, 1))
    return codes


def refit_prior(folder: Path, data: Path, settings: AudioPriorSettings, log: Log) -> None:
    """Fit the prior of the weights in `folder` anew on the sounds below `data`, and write it."""
    shipped = weights.read_folder(folder)
    tensors = {name: torch.from_numpy(tensor) for name, tensor in shipped.tensors.items()}
    network = build(AudioRVQConfig.from_dict(shipped.config), tensors)
    sounds = read_sounds(data, {}, network.config.rate, network.config.hop)
    codes = code_sounds(network, (sound.samples for sound in sounds))
    write_prior(folder, fit_audio_prior(codes, network.config.entries, settings, log))
