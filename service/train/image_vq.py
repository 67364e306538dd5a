"""The recipe of `image/vq`: mean squared error, Muon and AdamW, weights averaged at the end."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from safetensors.numpy import save_file
from torch import Tensor
from torch.nn import functional as F

from omnicodec.codecs.prior import StaticPrior
from omnicodec.codecs.registry import resolve_device
from omnicodec.models.image.vq import ImageVQ, ImageVQConfig
from omnicodec.models.layers import channels_last
from omnicodec.service.train.learner import Learner
from omnicodec.service.train.pictures import Picture, crops, read_pictures
from omnicodec.service.train.run import Run
from omnicodec.service.train.settings import split_settings

# The shards of ../shared/data are many pictures of few kinds (clothes, groceries); what is
# more general counts more. Other data sets have other names and are not touched by this.
GROUP_WEIGHTS = {
    "cid22_ccbysa4": 2.0,
    "tfflowers_ccby2": 0.7,
    "dreambooth_unsplash": 0.6,
    "grocery_mit": 0.4,
    "clothing_cc0": 0.3,
}


@dataclass(frozen=True, kw_only=True)
class ImageVQRecipe:
    """Settings of a run; the network's own are in `network`.

    Matrices are trained by Muon (Jordan et al. 2024; momentum orthogonalized by
    Newton-Schulz), which here gained 0.9 dB over AdamW at equal time in short runs;
    everything else by AdamW.
    """

    batch: int = 12
    crop: int = 224
    zoom: float = 1.4
    matrix_rate: float = 5e-3
    other_rate: float = 2e-3
    weight_decay: float = 0.02
    newton_schulz_steps: int = 4
    warmup: int = 100
    average: float = 0.998
    compile: bool = False
    network: ImageVQConfig = field(default_factory=ImageVQConfig)

    @classmethod
    def from_settings(cls, settings: Mapping[str, Any]) -> Self:
        """Return the recipe with `settings`, whose network keys begin with "network."."""
        plain, network = split_settings("image/vq", settings, cls(), ImageVQConfig(), items_above=1)
        return cls(**plain, network=ImageVQConfig.from_dict(network))

    def train(self, data: Path, run: Run) -> Path:
        """Train on the pictures below `data`; return the folder of the exported weights."""
        return _Training(self, data, run).go()


class _Training:
    """The moving parts of one sitting."""

    def __init__(self, recipe: ImageVQRecipe, data: Path, run: Run) -> None:
        self.recipe, self.run = recipe, run
        self.device = torch.device(resolve_device(run.options.device))
        torch.manual_seed(run.options.seed)
        self.pictures = read_pictures(data, GROUP_WEIGHTS, recipe.crop)
        run.report(f"{len(self.pictures)} pictures, device {self.device}")
        network = channels_last(ImageVQ(recipe.network).to(self.device))
        self.learner = Learner(
            network,
            # The matrices of the blocks are Muon's; embedding, codes and pixels are not.
            [
                parameter
                for name, parameter in network.named_parameters()
                if name.endswith(("expand.weight", "project.weight"))
            ],
            run,
            rates=(recipe.matrix_rate, recipe.other_rate),
            decays=(recipe.weight_decay, recipe.weight_decay),
            warmup=recipe.warmup,
            average=recipe.average,
            clip=1.0,
            newton_schulz_steps=recipe.newton_schulz_steps,
        )
        self.network, self.average = self.learner.network, self.learner.average
        self.config = {**asdict(recipe), "network": recipe.network.to_dict()}
        self.learner.resume(self.config)

    def go(self) -> Path:
        run, recipe = self.run, self.recipe
        forward = torch.compile(self.network) if recipe.compile else self.network
        batches = self._batches()
        squared, seen = 0.0, 0
        while run.progress < 1:
            pixels = next(batches)
            with torch.autocast(self.device.type, torch.bfloat16):
                drawn = forward(pixels)
            loss = F.mse_loss(drawn.float(), pixels)
            factor = self.learner.step(loss)
            squared, seen = squared + loss.item(), seen + 1
            if run.step % 100 == 0:
                run.log(train_psnr=_psnr(squared / seen), rate=factor)
                squared, seen = 0.0, 0
            if run.step % run.options.validate_every == 0:
                self._validate()
            if run.checkpoint_due():
                self.learner.save(self.config)
        self._validate()
        self.learner.save(self.config)
        return self.export()

    def _batches(self) -> Iterator[Tensor]:
        recipe, seed = self.recipe, self.run.options.seed
        while True:
            # Seeded by step: a resumed run sees what an undisturbed one would have seen.
            one = crops(
                self.pictures, recipe.crop, recipe.batch, hash((seed, self.run.step)), recipe.zoom
            )
            yield next(one).to(self.device, memory_format=torch.channels_last)

    def _validate(self) -> None:
        if self.run.options.validation is None:
            return
        pictures = read_pictures(self.run.options.validation, {}, 1)
        scores = []
        for picture in pictures:
            pixels = _whole(picture, self.recipe.network.patch, self.device)
            with torch.inference_mode(), torch.autocast(self.device.type, torch.bfloat16):
                drawn = self.average(pixels).float().clamp(-1, 1)
            scores.append(_psnr(F.mse_loss(drawn, pixels).item()))
        self.run.log(validation_psnr=float(np.mean(scores)))

    def export(self) -> Path:
        """Write configuration, half-precision weights and the prior as a weights folder."""
        folder = self.run.folder / "export"
        folder.mkdir(parents=True, exist_ok=True)
        save_file(self.learner.half(), folder / "model.safetensors")
        config = {"version": 1, **self.recipe.network.to_dict()}
        (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")
        save_file(self._prior().tables(), folder / "prior.safetensors")
        return folder

    @torch.inference_mode()
    def _prior(self) -> StaticPrior:
        levels = self.recipe.network.levels
        counts = [np.zeros(n, np.int64) for n in levels]
        for picture in self.pictures:
            ids = self.average.encode(_whole(picture, self.recipe.network.patch, self.device))
            row = ids.cpu().numpy().reshape(-1)
            for n, count in zip(levels, counts, strict=True):
                row, digit = np.divmod(row, n)
                count += np.bincount(digit, minlength=n)
        return StaticPrior.train([counts])


def _whole(picture: Picture, patch: int, device: torch.device) -> Tensor:
    """Return a picture as a batch of one, cut to whole patches."""
    height, width = (n // patch * patch for n in picture.pixels.shape[1:])
    pixels = picture.pixels[None, :, :height, :width].to(device).float() / 127.5 - 1
    return pixels.contiguous(memory_format=torch.channels_last)


def _psnr(mean_squared_error: float) -> float:
    """Return PSNR in dB of values in -1 to 1."""
    return -10 * math.log10(max(mean_squared_error, 1e-12) / 4)
