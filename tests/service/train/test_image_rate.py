"""The recipe of `image/rate` learns, resumes, and exports a codec that works."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from omnicodec.codecs import Image, InvalidInput, load
from omnicodec.codecs.stream import read_tokens, write_tokens
from omnicodec.models import weights
from omnicodec.service.train import image_rate, train
from omnicodec.service.train.image_rate_prior import RatePriorSettings
from omnicodec.service.train.run import RunOptions

TOY = {
    "batch": 2,
    "crop": 64,
    "warmup": 2,
    "average": 0.5,
    "prior_minutes": 0.01,
    "network.stem_channels": 8,
    "network.encoder_channels": 16,
    "network.encoder_blocks": 1,
    "network.decoder_channels": 16,
    "network.decoder_blocks": 1,
    "network.head_channels": 8,
    "network.head_blocks": 1,
}


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pictures")
    y, x = np.mgrid[:96, :112]
    for i in range(3):
        rng = np.random.default_rng(i)
        bands = [np.sin(x / rng.uniform(5, 30) + y / rng.uniform(5, 30)) for _ in range(3)]
        noisy = np.stack(bands, 2) * 80 + 128 + rng.normal(0, 6, (96, 112, 3))
        Image(noisy.clip(0, 255).astype(np.uint8)).save(folder / f"{i}.png")
    return folder


def go(pictures: Path, out: Path, steps: int, **more: object) -> Path:
    options = RunOptions(
        steps=steps, device="cpu", settings={**TOY, **more}, validate_every=3, validation=pictures
    )
    return train("image/rate", pictures, out, options, report=lambda _: None)


def scores(folder: Path, name: str) -> list[float]:
    rows = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    return [row[name] for row in rows if name in row]


def test_it_learns_and_exports_a_codec(pictures: Path, tmp_path: Path) -> None:
    export = go(pictures, tmp_path, 30)
    rates = scores(tmp_path, "bpp30")
    assert rates[-1] < 0.9 * rates[0]
    codec = load(export, device="cpu")
    picture = Image.open(pictures / "0.png")
    (tokens,) = codec.encode([picture], quality=60)
    stream = write_tokens(tokens, codec)
    (back,) = codec.decode([read_tokens(stream, codec=codec).tokens])
    error = np.mean((back.pixels.astype(float) - picture.pixels) ** 2)
    assert 10 * np.log10(255**2 / error) > 28
    stored = weights.read_folder(export).tensors
    assert stored["analysis.transform"].dtype == np.float16
    assert stored["analysis.blocks.0.expand.weight"].dtype == np.int8


def test_its_prior_can_be_fitted_again(pictures: Path, tmp_path: Path) -> None:
    export = go(pictures, tmp_path, 3)
    before = load(export, device="cpu")
    settings = RatePriorSettings(minutes=0.02, seed=1)
    image_rate.refit_prior(export, pictures, settings, lambda **_: None)
    after = load(export, device="cpu")
    assert after.spec.fingerprint == before.spec.fingerprint
    assert after.spec.prior != before.spec.prior


def test_an_interrupted_run_goes_on_as_if_nothing_had_happened(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = weights.read_folder(go(pictures, tmp_path / "whole", 6))
    validate = image_rate._Training._validate

    def interrupt(self: image_rate._Training) -> None:
        if self.run.step == 3:
            self.learner.save(self.config)
            raise KeyboardInterrupt
        validate(self)

    monkeypatch.setattr(image_rate._Training, "_validate", interrupt)
    with pytest.raises(KeyboardInterrupt):
        go(pictures, tmp_path / "cut", 6)
    monkeypatch.undo()
    resumed = weights.read_folder(go(pictures, tmp_path / "cut", 6))
    assert resumed.fingerprint == whole.fingerprint


def test_it_can_begin_from_another_run(pictures: Path, tmp_path: Path) -> None:
    """From its checkpoint or its export, and with more blocks, which begin as nothing."""
    export = go(pictures, tmp_path / "first", 6)
    wanted = {name: scores(tmp_path / "first", name)[-1] for name in ("psnr30", "bpp30")}
    larger = {"network.decoder_blocks": 2, "network.encoder_blocks": 2}
    for begin, more in (
        (tmp_path / "first" / "checkpoint.safetensors", {}),
        (tmp_path / "first" / "checkpoint.safetensors", larger),
        (export, {}),
    ):
        folder = tmp_path / f"{begin.name}{len(more)}"
        go(pictures, folder, 3, begin=str(begin), matrix_rate=1e-9, other_rate=1e-9, **more)
        found = {name: scores(folder, name)[-1] for name in wanted}
        assert found["psnr30"] == pytest.approx(wanted["psnr30"], rel=0.02)
        # An exported prior was fitted a little further.
        assert 0.9 * wanted["bpp30"] < found["bpp30"] < 1.03 * wanted["bpp30"]
    for wrong in (tmp_path, tmp_path / "first" / "log.jsonl", tmp_path / "nothing"):
        with pytest.raises(InvalidInput, match="cannot begin"):
            go(pictures, tmp_path / "wrong", 1, begin=str(wrong))


def test_the_strongest_waves_come_first(pictures: Path) -> None:
    read = image_rate.read_pictures(pictures, {}, 64)
    chosen, spread = image_rate.strongest(read, image_rate.RateConfig())
    assert chosen.unique().numel() == 256
    assert (spread.diff() <= 0).all()
    assert torch.isfinite(spread).all()


def test_settings_are_checked(pictures: Path, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="no setting"):
        go(pictures, tmp_path, 1, qualities=3)
    with pytest.raises(InvalidInput, match="no pictures of 500 pixels"):
        go(pictures, tmp_path, 1, crop=500)
