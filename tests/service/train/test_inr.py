"""The recipes of `image/inr` and `video/inr` learn, resume, and export codecs that work."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from omnicodec.codecs import Image, InvalidInput, Video, load
from omnicodec.codecs.stream import read_tokens, write_tokens
from omnicodec.models import weights
from omnicodec.service.train import image_inr, train
from omnicodec.service.train.run import RunOptions

TOY = {"batch": 1, "crop": 64, "warmup": 2, "average": 0.5}


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pictures")
    y, x = np.mgrid[:360, :400]
    for i in range(2):
        rng = np.random.default_rng(i)
        bands = [np.sin(x / rng.uniform(5, 30) + y / rng.uniform(5, 30)) for _ in range(3)]
        noisy = np.stack(bands, 2) * 80 + 128 + rng.normal(0, 6, (360, 400, 3))
        Image(noisy.clip(0, 255).astype(np.uint8)).save(folder / f"{i}.png")
    return folder


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory, pictures: Path) -> Path:
    folder = tmp_path_factory.mktemp("small")
    pixels = Image.open(pictures / "0.png").pixels[:96, :96]
    Image(np.ascontiguousarray(pixels)).save(folder / "0.png")
    return folder


def go(pictures: Path, out: Path, steps: int, small: Path) -> Path:
    options = RunOptions(
        steps=steps, device="cpu", settings=TOY, validate_every=5, validation=small
    )
    return train("image/inr", pictures, out, options, report=lambda _: None)


@pytest.fixture(scope="module")
def export(tmp_path_factory: pytest.TempPathFactory, pictures: Path, small: Path) -> Path:
    return go(pictures, tmp_path_factory.mktemp("run"), 20, small)


def test_pictures_learn_and_export_a_codec(export: Path, small: Path) -> None:
    rows = [json.loads(line) for line in (export.parent / "log.jsonl").read_text().splitlines()]
    rates = [row["bpp45"] for row in rows if "bpp45" in row]
    assert rates[-1] < rates[0]
    codec = load(export, device="cpu")
    picture = Image.open(small / "0.png")
    (tokens,) = codec.encode([picture], quality=70)
    (back,) = codec.decode([read_tokens(write_tokens(tokens, codec), codec=codec).tokens])
    error = np.mean((back.pixels.astype(float) - picture.pixels) ** 2)
    assert 10 * np.log10(255**2 / error) > 24
    stored = weights.read_folder(export).tensors
    assert stored["analysis.halvings.0.weight"].dtype == np.float16, "the transform is kept"
    assert stored["analysis.down.0.0.expand.weight"].dtype == np.int8


def test_an_interrupted_run_goes_on_as_if_nothing_had_happened(
    pictures: Path, small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = weights.read_folder(go(pictures, tmp_path / "whole", 4, small))
    loss = image_inr._Training._pass

    def interrupt(self: image_inr._Training, *rest: object, **more: object) -> object:
        if self.run.step == 2:
            self.learner.save(self.config)
            raise KeyboardInterrupt
        return loss(self, *rest, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(image_inr._Training, "_pass", interrupt)
    with pytest.raises(KeyboardInterrupt):
        go(pictures, tmp_path / "cut", 4, small)
    monkeypatch.undo()
    resumed = weights.read_folder(go(pictures, tmp_path / "cut", 4, small))
    assert resumed.fingerprint == whole.fingerprint


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clips")
    y, x = np.mgrid[:64, :80]
    frames = [np.stack([np.sin((x + 2 * n) / 7 + k) * 90 + y + 60 for k in range(3)], 2)
              for n in range(12)]  # fmt: skip
    Video(np.stack(frames).clip(0, 255).astype(np.uint8), 25).save(folder / "clip.mkv")
    return folder


def video(data: Path, out: Path, **settings: object) -> Path:
    options = RunOptions(steps=1, device="cpu", settings=settings)
    return train("video/inr", data, out, options, report=lambda _: None)


def test_clips_learn_and_export_a_codec(
    export: Path, clips: Path, pictures: Path, tmp_path: Path
) -> None:
    first = video(
        clips, tmp_path / "first", begin=str(export), pictures=str(pictures),
        rounds=1, clips=2, steps=30, batch=64,
    )  # fmt: skip
    codec = load(first, device="cpu")
    item = Video.open(clips / "clip.mkv")
    (tokens,) = codec.encode([item], quality=60)
    back = read_tokens(write_tokens(tokens, codec), codec=codec).tokens
    np.testing.assert_array_equal(back.ids, tokens.ids)
    (decoded,) = codec.decode([back])
    error = np.mean((decoded.frames.astype(float) - item.frames) ** 2)
    assert 10 * np.log10(255**2 / error) > 28
    # With other networks for key frames, what predicted frames have stays as it is.
    again = video(clips, tmp_path / "again", begin=str(export), residual=str(first), rounds=0)
    assert weights.read_folder(again).fingerprint == weights.read_folder(first).fingerprint


def test_clips_need_networks_and_clips(export: Path, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="begin"):
        video(tmp_path, tmp_path / "run")
    with pytest.raises(InvalidInput, match="no clips"):
        video(tmp_path, tmp_path / "other", begin=str(export))
