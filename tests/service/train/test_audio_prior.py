"""The prior of `audio/rvq` from sounds: fitted, written, and read again."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file

from omnicodec.codecs import Audio, InvalidInput
from omnicodec.codecs.audio._prior import NestedPrior
from omnicodec.codecs.prior import Span
from omnicodec.models import weights
from omnicodec.models.audio.rvq import AudioRVQ, AudioRVQConfig
from omnicodec.service.train.audio_prior import (
    AudioPriorSettings,
    code_sounds,
    fit_audio_prior,
    refit_prior,
)
from omnicodec.service.train.mixer import MixerSettings

SETTINGS = AudioPriorSettings(
    mixer=MixerSettings(counted=11, shipped=9, rates=((5, 1),), recount=False)
)
CONFIG = AudioRVQConfig(books=3, entries=32)


def draw(seed: int, frames: int = 120) -> np.ndarray:
    """Return codes of which the first one lasts, and says much of the others."""
    rng = np.random.default_rng(seed)
    first = np.repeat(rng.integers(0, 32, frames), 3)[:frames]
    others = [(first * 3 + rng.integers(0, 5, frames)) % 32 for _ in range(2)]
    return np.stack([first, *others]).astype(np.int16)


@pytest.fixture(scope="module")
def network() -> AudioRVQ:
    torch.manual_seed(0)
    network = AudioRVQ(CONFIG).eval().requires_grad_(False)
    for name, buffer in network.named_buffers():
        if name in network.state_dict():
            buffer.normal_()
    return network


def test_the_prior_knows_the_codes() -> None:
    rows: list[dict[str, float]] = []
    tensors = fit_audio_prior(
        [draw(seed) for seed in range(30)], 32, SETTINGS, lambda **values: rows.append(values)
    )
    prior = NestedPrior(tensors)
    ids, span = draw(99).astype(np.int32), Span((120, 1), 0, 120)
    code = prior.encode(ids, span)
    assert np.array_equal(prior.decode(code, span), ids)
    # 5 bits every third frame, and twice the choice of one in five.
    assert 8 * len(code) < 0.7 * 15 * 120
    assert rows[0] == {"stage": 0, "sounds": 30.0, "frames": 3600.0}
    again = fit_audio_prior([draw(seed) for seed in range(30)], 32, SETTINGS, lambda **_: None)
    assert NestedPrior(again).fingerprint == prior.fingerprint


def test_without_codes_there_is_no_prior() -> None:
    with pytest.raises(InvalidInput):
        fit_audio_prior([np.zeros((3, 0), np.int16)], 32, SETTINGS, lambda **_: None)


def test_sounds_are_coded_in_whole_hops(network: AudioRVQ) -> None:
    rng = np.random.default_rng(0)
    hop, rate = CONFIG.hop, CONFIG.rate
    sounds = [rng.integers(-9000, 9000, n).astype(np.int16) for n in (hop - 1, 5 * hop + 7)]
    (codes,) = code_sounds(network, sounds)
    whole = torch.from_numpy(sounds[1][: 5 * hop].astype(np.float32) / 32768)[None]
    assert np.array_equal(codes, network.encode(whole, 3)[:, 0].numpy())
    (long,) = code_sounds(network, [np.zeros(21 * rate, np.int16)])
    assert long.shape[0] == 3
    assert long.shape[1] >= 21 * rate // hop


def test_the_prior_of_a_folder_is_replaced(network: AudioRVQ, tmp_path: Path) -> None:
    folder, data = tmp_path / "weights", tmp_path / "data"
    folder.mkdir()
    data.mkdir()
    save_file({k: v.numpy() for k, v in network.state_dict().items()}, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps({"version": 1, **CONFIG.to_dict()}))
    save_file({"old": np.zeros(1)}, folder / "prior.safetensors")
    rng = np.random.default_rng(1)
    for i in range(4):
        noise = (0.1 * rng.standard_normal((1, CONFIG.rate))).astype(np.float32)
        Audio(noise, CONFIG.rate).save(data / f"{i}.wav")
    refit_prior(folder, data, SETTINGS, lambda **_: None)
    assert [p.name for p in sorted(folder.glob("prior*"))] == ["prior.safetensors.zst"]
    prior = NestedPrior(weights.read_folder(folder).prior)
    ids, span = draw(5).astype(np.int32), Span((120, 1), 0, 120)
    assert np.array_equal(prior.decode(prior.encode(ids, span), span), ids)
