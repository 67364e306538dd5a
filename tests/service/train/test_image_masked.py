"""Own weights of `image/vq`, their prior and their network for lost tokens, from pictures."""

from __future__ import annotations

import json
import random
import shutil
from pathlib import Path

import numpy as np
import pytest

from omnicodec.codecs import Image, InvalidInput, load
from omnicodec.codecs.image._vq import VQCodec
from omnicodec.codecs.image._vq_prior import DigitPrior
from omnicodec.models import weights
from omnicodec.service.train import image_masked, train
from omnicodec.service.train.image_masked import draw_mask
from omnicodec.service.train.image_vq_prior import ImagePriorSettings, refit_prior
from omnicodec.service.train.mixer import MixerSettings
from omnicodec.service.train.run import RunOptions

CODEC = {
    "batch": 2, "crop": 32, "warmup": 2, "network.patch": 8, "network.levels": [4, 4, 3],
    "network.encoder_channels": 16, "network.encoder_blocks": 1,
    "network.decoder_channels": 16, "network.decoder_blocks": 1, "network.head_channels": 8,
    "network.head_blocks": 1, "network.expansion": 2,
}  # fmt: skip
TOY = {
    "batch": 4, "crop": 6, "warmup": 2, "views": 2, "average": 0.5, "network.channels": 16,
    "network.blocks": 1, "network.heads": 2, "network.window": 4, "network.expansion": 2,
}  # fmt: skip
SMALL = MixerSettings(counted=9, shipped=8, rates=((5, 1),), recount=False)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pictures")
    for i in range(5):
        y, x = np.mgrid[:64, :80]
        plane = 127 + 100 * np.sin((x * (i + 1) + y * 3) / 30)
        Image(np.stack([plane, 255 - plane, y * 3], 2).astype(np.uint8)).save(folder / f"{i}.png")
    return folder


@pytest.fixture(scope="module")
def trained(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    options = RunOptions(steps=20, device="cpu", settings=CODEC)
    return train("image/vq", pictures, tmp_path_factory.mktemp("run"), options, lambda _: None)


@pytest.fixture
def own(trained: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(trained, tmp_path / "weights"))


def go(own: Path | str, pictures: Path, out: Path, steps: int, **more: object) -> Path:
    options = RunOptions(
        steps=steps, device="cpu", settings={"of": str(own), **TOY, **more},
        validation=pictures, validate_every=10,
    )  # fmt: skip
    return train("image/masked", pictures, out, options, lambda _: None)


def log(folder: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


def test_own_weights_get_a_prior_and_a_network(own: Path, pictures: Path, tmp_path: Path) -> None:
    before = load(own, device="cpu")
    assert before.spec.qualities == ()
    settings = ImagePriorSettings(
        codebooks={30: 8, 60: 10_000}, mixer=SMALL, reduced_mixer=SMALL, views=2
    )
    refit_prior(own, pictures, settings, lambda **_: None)
    codec = load(own, device="cpu")
    assert isinstance(codec, VQCodec)
    assert isinstance(codec.prior, DigitPrior)
    assert codec.spec.qualities == (30, 100), "a codebook is not reduced to more than it has"
    assert codec.spec.fingerprint == before.spec.fingerprint
    first = (own / "prior.safetensors.zst").read_bytes()
    refit_prior(own, pictures, settings, lambda **_: None)
    assert (own / "prior.safetensors.zst").read_bytes() == first
    assert not (own / "prior.safetensors").exists()

    installed = go(own, pictures, tmp_path / "run", 60)
    assert installed == own / "masked"
    assert load(own, device="cpu").spec.fingerprint == before.spec.fingerprint
    nats = [row["validation_nats"] for row in log(tmp_path / "run") if "validation_nats" in row]
    assert nats[-1] < nats[0] - 0.2
    stored = weights.read_folder(installed)
    assert stored.tensors["layers.0.expand.weight"].dtype == np.int8
    assert stored.tensors["layers.1.bias"].dtype == np.float16
    assert stored.config["levels"] == [4, 4, 3]

    (tokens,) = load(own, device="cpu").encode([Image.open(pictures / "0.png")])
    missing = np.arange(len(tokens)) % 5 == 0
    with_network = load(own, device="cpu").decode([tokens], missing=[missing])
    assert with_network != codec.decode([tokens], missing=[missing])

    # A second run begins where the first ended, unless it is told not to.
    go(own, pictures, tmp_path / "warm", 1)
    assert log(tmp_path / "warm")[0]["validation_nats"] < nats[0] - 0.2
    go(own, pictures, tmp_path / "fresh", 1, fresh=True)
    assert log(tmp_path / "fresh")[0]["validation_nats"] > nats[-1] + 0.2


def test_an_interrupted_run_goes_on_as_if_nothing_had_happened(
    own: Path, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fresh = {"fresh": True}
    whole = weights.read_folder(go(own, pictures, tmp_path / "whole", 12, **fresh))
    training = image_masked._Training
    batch = training._batch

    def interrupt(self: image_masked._Training, seed: int) -> object:
        if self.run.step == 7:
            self.learner.save(self.config)
            raise KeyboardInterrupt
        return batch(self, seed)

    monkeypatch.setattr(training, "_batch", interrupt)
    with pytest.raises(KeyboardInterrupt):
        go(own, pictures, tmp_path / "cut", 12, **fresh)
    monkeypatch.undo()
    resumed = weights.read_folder(go(own, pictures, tmp_path / "cut", 12, **fresh))
    assert resumed.fingerprint == whole.fingerprint


def test_settings_and_data_are_checked(own: Path, pictures: Path, tmp_path: Path) -> None:
    for bad, why in (
        ({"of": "text/bytes"}, "not an image/vq"),
        ({"crop": 100}, "no pictures of 400 pixels"),
        ({"network.heads": 3}, "heads share"),
        ({"network.window": 5}, "window's side is even"),
        ({"crops": 3}, "no setting 'crops'"),
    ):
        with pytest.raises(InvalidInput, match=why):
            go(own, pictures, tmp_path / "run", 1, **bad)
    assert not (tmp_path / "run").exists(), "a run that cannot begin leaves nothing"


def test_masks_lose_something_and_seldom_all() -> None:
    rng = random.Random(0)
    shares = [draw_mask((7, 12), rng).mean() for _ in range(500)]
    assert min(shares) > 0
    assert 0.2 < np.mean(shares) < 0.5
    assert np.mean(np.array(shares) == 1) < 0.01
    assert draw_mask((1, 1), rng).all()
