"""The recipe of `audio/rvq` on a toy network: learning, resuming, exporting."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from omnicodec.codecs import Audio, InvalidInput
from omnicodec.models import weights
from omnicodec.models.audio.rvq import AudioRVQConfig, build
from omnicodec.service.train.audio_rvq import BANDS, WINDOWS, AudioRVQRecipe
from omnicodec.service.train.run import Run, RunOptions
from omnicodec.service.train.spectral_loss import SpectralLoss

pytest.importorskip("av")
pytest.importorskip("soundfile")

TOY = {
    "batch": 4, "crop_hops": 40, "warmup": 5, "average": 0.8, "fitting": 5, "held_out": 4,
    "rates": [2, 3], "rate_chances": [0.5, 0.5], "other_rate": 3e-3, "adversarial": 0.6,
    "network.rate": 8000, "network.hop": 80, "network.encoder_channels": 16,
    "network.encoder_blocks": 1, "network.decoder_channels": 16, "network.decoder_blocks": 1,
    "network.kernel": 3, "network.expansion": 2, "network.dims": 40, "network.bands": 8,
    "network.books": 3, "network.entries": 32,
}  # fmt: skip


@pytest.fixture(scope="module")
def sounds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sounds")
    rng = np.random.default_rng(0)
    time = np.arange(16_000) / 8000
    for i in range(4):
        wave = sum(np.sin(2 * np.pi * f * time + f) for f in rng.uniform(100, 1500, 4))
        noisy = 0.05 * wave + 0.02 * rng.standard_normal(time.size)
        Audio(noisy[None].astype(np.float32), 8000).save(folder / f"{i}.wav")
    return folder


def go(sounds: Path, out: Path, steps: int, **more: object) -> Path:
    options = RunOptions(steps=steps, device="cpu", settings={**TOY, **more}, validate_every=20)
    recipe = AudioRVQRecipe.from_settings(options.settings or {})
    return recipe.train(sounds, Run(out, options, lambda _: None))


def log(folder: Path, name: str) -> list[float]:
    rows = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    return [row[name] for row in rows if name in row]


def test_it_learns_and_exports(sounds: Path, tmp_path: Path) -> None:
    folder = go(sounds, tmp_path, 60)
    scores = log(tmp_path, "validation_mel")
    assert scores[-1] < 0.98 * scores[0]
    for part in ("adversarial", "feature", "discriminator"):
        assert log(tmp_path, part), "the discriminators were not asked"
    shipped = weights.read_folder(folder)
    assert shipped.config["version"] == 2
    assert all(v.dtype == np.float16 for v in shipped.tensors.values())
    tensors = {k: torch.from_numpy(v) for k, v in shipped.tensors.items()}
    network = build(AudioRVQConfig.from_dict(shipped.config), tensors)
    loss = SpectralLoss(8000, WINDOWS, BANDS)
    samples = torch.from_numpy(Audio.open(sorted(sounds.glob("*.wav"))[0]).samples)
    indices = network.encode(samples, 2)
    assert len(indices[1].unique()) > 4
    found = float(loss(network.decode(indices), samples).mel)
    assert found == pytest.approx(scores[-1], rel=0.02), "not what was trained"


def test_an_interrupted_run_goes_on_as_if_nothing_had_happened(
    sounds: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    go(sounds, tmp_path / "whole", 16)

    due = Run.checkpoint_due

    def interrupt(self: Run) -> bool:
        return self.step == 10 or due(self)

    def save(self: Run, *args: Any) -> None:
        saved(self, *args)
        if self.step == 10:
            raise KeyboardInterrupt

    saved = Run.save
    with monkeypatch.context() as patch:
        patch.setattr(Run, "checkpoint_due", interrupt)
        patch.setattr(Run, "save", save)
        with pytest.raises(KeyboardInterrupt):
            go(sounds, tmp_path / "cut", 16)
    go(sounds, tmp_path / "cut", 16)
    whole, cut = (
        weights.read_folder(tmp_path / name / "export").fingerprint for name in ("whole", "cut")
    )
    assert whole == cut


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("nothing", 1, "no setting 'nothing'"),
        ("network.nothing", 1, "no setting 'nothing'"),
        ("batch", 1.5, "batch cannot be 1.5"),
        ("mel_weight", -1.0, "mel_weight cannot be -1.0"),
        ("rates", [0, 1], "rates cannot be"),
        ("rates", [1], "of one length"),
        ("rates", [1, 99], "within the 3 codebooks"),
    ],
)
def test_settings_are_checked(name: str, value: object, message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        AudioRVQRecipe.from_settings({**TOY, name: value})
