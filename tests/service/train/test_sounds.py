"""Training sounds: read from anything, cropped and varied by seed."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch

from omnicodec.codecs import Audio, InvalidInput
from omnicodec.service.train.sounds import Augmentation, Sound, crops, read_sounds

pytest.importorskip("av")
pytest.importorskip("soundfile")

RATE = 8000
PLAIN = Augmentation(mixing=0, filtering=0, silence=0, loudest=-20, quietest=-20)


def tone(seconds: float, rate: int, channels: int = 1) -> Audio:
    time = np.arange(round(seconds * rate)) / rate
    wave = (0.3 * np.sin(2 * np.pi * 300 * time)).astype(np.float32)
    return Audio(np.stack([wave] * channels), rate)


def level(crop: torch.Tensor) -> float:
    return 20 * float(crop.square().mean().sqrt().log10())


def test_files_and_shards_of_any_rate(tmp_path: Path) -> None:
    tone(1, 16_000).save(tmp_path / "a.wav")
    tone(0.1, 16_000).save(tmp_path / "short.wav")
    (tmp_path / "notes.txt").write_text("no sound")
    with tarfile.open(tmp_path / "far.tar", "w") as tar:
        data = tone(2, 44_100, 2).to_bytes(".flac")
        member = tarfile.TarInfo("far/b.flac")
        member.size = len(data)
        tar.addfile(member, io.BytesIO(data))
    first, second = read_sounds(tmp_path, {"far": 3.0}, RATE, RATE // 2)
    assert abs(first.samples.size - RATE) < 50
    assert abs(second.samples.size - 2 * RATE) < 50
    assert second.weight == 3.0 * second.samples.size
    rms = np.sqrt(np.mean(np.square(second.samples / 32768.0)))
    assert rms == pytest.approx(0.3 / np.sqrt(2), rel=0.1)


def test_nothing_to_train_on_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("no sound")
    with pytest.raises(InvalidInput, match="no sounds of 10 samples"):
        read_sounds(tmp_path, {}, RATE, 10)


def test_a_batch_is_a_function_of_its_seed() -> None:
    noise = np.random.default_rng(0).integers(-9000, 9000, 4000).astype(np.int16)
    sounds = [Sound(noise, 1.0), Sound(noise[:500], 1.0)]
    first = crops(sounds, 1000, 8, 1, Augmentation())
    assert first.shape == (8, 1000)
    assert first.dtype == torch.float32
    assert first.abs().max() <= 1
    assert torch.equal(first, crops(sounds, 1000, 8, 1, Augmentation()))
    assert not torch.equal(first, crops(sounds, 1000, 8, 2, Augmentation()))


def test_loudness_is_as_told() -> None:
    sounds = [Sound((tone(1, RATE).samples[0] * 3000).astype(np.int16), 1.0)]
    for crop in crops(sounds, 2000, 4, 0, PLAIN):
        assert level(crop) == pytest.approx(-20, abs=0.1)


def test_each_augmentation_shows() -> None:
    sounds = [Sound((tone(1, RATE).samples[0] * 3000).astype(np.int16), 1.0)]

    def whole(how: Augmentation) -> torch.Tensor:
        return crops(sounds, RATE, 1, 5, how)[0]

    assert not whole(Augmentation(silence=1)).any()
    mixed = whole(Augmentation(mixing=1, filtering=0, silence=0, loudest=-20, quietest=-20))
    assert level(mixed) > -20 + 1
    bands = [
        float(torch.fft.rfft(c).abs()[300])
        for c in crops(sounds, RATE, 6, 0, Augmentation(filtering=1, mixing=0, silence=0))
    ]
    assert max(bands) > 1.5 * min(bands)
