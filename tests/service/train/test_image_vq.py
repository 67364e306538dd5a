"""The recipe of `image/vq` on a toy network: learning, resuming, exporting."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from omnicodec.codecs import CorruptStream, Image, InvalidInput, UnknownCodec
from omnicodec.codecs.prior import StaticPrior
from omnicodec.models import weights
from omnicodec.models.image.vq import ImageVQConfig, build
from omnicodec.service.train import train
from omnicodec.service.train.run import RunOptions

TOY = {
    "batch": 4, "crop": 32, "warmup": 2, "average": 0.5,
    "network.levels": [4, 4, 4], "network.encoder_channels": 16, "network.encoder_blocks": 1,
    "network.decoder_channels": 16, "network.decoder_blocks": 1, "network.head_channels": 8,
    "network.head_blocks": 1, "network.expansion": 2,
}  # fmt: skip


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pictures")
    for i in range(6):
        y, x = np.mgrid[:48, :64]
        plane = 127 + 100 * np.sin((x * (i + 1) + y * 3) / 20)
        Image(np.stack([plane, 255 - plane, y * 5], 2).astype(np.uint8)).save(folder / f"{i}.png")
    (folder / "notes.txt").write_text("no picture")
    return folder


def go(pictures: Path, out: Path, steps: int, **more: object) -> Path:
    options = RunOptions(
        steps=steps, device="cpu", settings={**TOY, **more}, validate_every=2, validation=pictures
    )
    return train("image/vq", pictures, out, options, report=lambda _: None)


def log(folder: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


def test_it_learns(pictures: Path, tmp_path: Path) -> None:
    go(pictures, tmp_path, 60)
    scores = [row["validation_psnr"] for row in log(tmp_path) if "validation_psnr" in row]
    assert scores[-1] > scores[0] + 2


def test_export_is_a_weights_folder(pictures: Path, tmp_path: Path) -> None:
    shipped = weights.read_folder(go(pictures, tmp_path, 20))
    assert shipped.config["version"] == 2
    prior = StaticPrior.from_tables(shipped.prior)
    assert prior.codebook_sizes == (64,)
    values = weights.dequantize(shipped.tensors)
    tensors = {k: torch.from_numpy(v) for k, v in values.items()}
    network = build(ImageVQConfig.from_dict(shipped.config), tensors)
    pixels = torch.from_numpy(Image.open(pictures / "0.png").pixels).permute(2, 0, 1)[None]
    scaled = pixels.float() / 127.5 - 1
    error = (network.decode(network.encode(scaled)) - scaled).square().mean()
    last = [row["validation_psnr"] for row in log(tmp_path) if "validation_psnr" in row][-1]
    assert -10 * float(torch.log10(error / 4)) > last - 6, "the export is not what was trained"
    assert shipped.tensors["encoder.0.expand.weight"].dtype == np.int8


def test_an_interrupted_run_goes_on_as_if_nothing_had_happened(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = weights.read_folder(go(pictures, tmp_path / "whole", 12))

    from omnicodec.service.train import image_vq

    validate = image_vq._Training._validate

    def interrupt(self: image_vq._Training) -> None:
        if self.run.step == 6:
            self.learner.save(self.config)
            raise KeyboardInterrupt
        validate(self)

    monkeypatch.setattr(image_vq._Training, "_validate", interrupt)
    with pytest.raises(KeyboardInterrupt):
        go(pictures, tmp_path / "cut", 12)
    monkeypatch.undo()
    resumed = weights.read_folder(go(pictures, tmp_path / "cut", 12))
    assert resumed.fingerprint == whole.fingerprint


def test_the_last_part_is_judged_by_discriminators(pictures: Path, tmp_path: Path) -> None:
    go(pictures, tmp_path, 200, adversarial=0.4)
    rows = [row for row in log(tmp_path) if "train_psnr" in row]
    assert [("adversarial" in row and "feature" in row) for row in rows] == [True, True]
    assert rows[0]["adversarial"] < rows[1]["adversarial"], "they were not asked from the start"


def test_it_can_begin_from_weights_and_from_another_run(pictures: Path, tmp_path: Path) -> None:
    first = go(pictures, tmp_path / "first", 60)
    scores = [row["validation_psnr"] for row in log(tmp_path / "first") if "validation_psnr" in row]
    for number, begin in enumerate((first, tmp_path / "first" / "checkpoint.safetensors")):
        folder = tmp_path / str(number)
        go(pictures, folder, 2, begin=str(begin), matrix_rate=1e-9, other_rate=1e-9)
        again = [row["validation_psnr"] for row in log(folder) if "validation_psnr" in row]
        assert again[-1] == pytest.approx(scores[-1], abs=0.2)


def test_a_run_is_not_resumed_with_other_settings(pictures: Path, tmp_path: Path) -> None:
    go(pictures, tmp_path, 2)
    with pytest.raises(InvalidInput, match="another configuration"):
        go(pictures, tmp_path, 4, batch=5)
    (tmp_path / "checkpoint.safetensors").write_bytes(b"junk")
    with pytest.raises(CorruptStream, match="checkpoint"):
        go(pictures, tmp_path, 4)


def test_settings_and_data_are_checked(pictures: Path, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="no setting 'batches'"):
        go(pictures, tmp_path, 1, batches=3)
    with pytest.raises(InvalidInput, match=r"no setting 'depth'"):
        go(pictures, tmp_path, 1, **{"network.depth": 3})
    for bad in ({"batch": "x"}, {"batch": -1}, {"zoom": None}, {"network.levels": [1]}):
        with pytest.raises(InvalidInput, match="cannot be"):
            go(pictures, tmp_path, 1, **bad)
    with pytest.raises(InvalidInput, match="no pictures of 500 pixels"):
        go(pictures, tmp_path, 1, crop=500)
    with pytest.raises(InvalidInput, match="not a folder"):
        go(tmp_path / "nothing", tmp_path / "run", 1)
    assert not (tmp_path / "run").exists(), "a run that cannot begin leaves nothing"
    with pytest.raises(UnknownCodec, match="no recipe trains 'image/none'"):
        train("image/none", pictures, tmp_path, RunOptions())


def test_a_schedule_by_time_ends(pictures: Path, tmp_path: Path) -> None:
    options = RunOptions(minutes=0.01, device="cpu", settings=TOY)
    train("image/vq", pictures, tmp_path, options, report=lambda _: None)
    assert (tmp_path / "export" / "model.safetensors.zst").exists()
