"""The recipe of `image/inr`: what all pictures share, for bits and squared error at once."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final, Self

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import Tensor

from omnicodec.codecs.prior.laplace import laplace_tables
from omnicodec.models import weights
from omnicodec.models.inr.arm import arm_integers
from omnicodec.models.inr.arm_kernels import CLASSES, LEAST, RATIO
from omnicodec.models.inr.exact_arm import RATE_BITS
from omnicodec.models.inr.exact_synthesis import STEP_BITS
from omnicodec.models.inr.image import (
    MIDDLE,
    ImageInr,
    ImageInrConfig,
    rate_of,
    weight_of,
)
from omnicodec.models.inr.pyramid import ALIGN
from omnicodec.models.inr.rounding import noisy, straight_through
from omnicodec.models.inr.updates import flat, groups
from omnicodec.models.layers import channels_last
from omnicodec.service.train.files import write_model, write_prior
from omnicodec.service.train.image_vq import GROUP_WEIGHTS
from omnicodec.service.train.learner import Learner
from omnicodec.service.train.pictures import crops, read_pictures, whole
from omnicodec.service.train.run import Run
from omnicodec.service.train.settings import split_settings
from omnicodec.service.train.training import Training

VALIDATION_QUALITIES: Final = (25.0, 45.0, 65.0)

TEMPERATURE: Final = 0.3
SHARPNESS: Final = 1.5
HARD_TEMPERATURE: Final = 0.15


@dataclass(frozen=True, kw_only=True)
class ImageInrRecipe:
    """Settings of a run; the networks' own are in `network`.

    Each batch has a quality of its own. From the share `hard` of the run on, latents are rounded,
    with gradients straight through. The wavelet's filters learn at `filter_share` of the rate of
    others. `begin` is a checkpoint of another run to begin from.
    """

    batch: int = 4
    crop: int = 256
    zoom: float = 1.4
    matrix_rate: float = 3e-3
    other_rate: float = 3e-3
    filter_share: float = 0.1
    weight_decay: float = 0.01
    newton_schulz_steps: int = 4
    warmup: int = 100
    average: float = 0.998
    hard: float = 1.0
    begin: str = ""
    network: ImageInrConfig = field(default_factory=ImageInrConfig)

    @classmethod
    def from_settings(cls, settings: Mapping[str, Any]) -> Self:
        """Return the recipe with `settings`; the networks' shapes are not among them."""
        plain, _ = split_settings("image/inr", settings, cls(), ImageInrConfig())
        return cls(**plain)

    def train(self, data: Path, run: Run) -> Path:
        """Train on the pictures below `data`; return the folder of the exported weights."""
        return _Training(self, data, run).go()


class _Training(Training):
    """The moving parts of one sitting."""

    def __init__(self, recipe: ImageInrRecipe, data: Path, run: Run) -> None:
        super().__init__(run)
        self.recipe = recipe
        torch.manual_seed(run.options.seed)
        self.pictures = read_pictures(data, GROUP_WEIGHTS, recipe.crop)
        run.report(f"{len(self.pictures)} pictures, device {self.device}")
        network = ImageInr(recipe.network)
        if recipe.begin:
            tensors = load_file(recipe.begin)
            network.load_state_dict(
                {k.removeprefix("average/"): v for k, v in tensors.items() if "average/" in k}
            )
        else:
            begin_arms(network, self._pixels(0))
        network = channels_last(network.to(self.device))
        shares = {id(p): _share(n, recipe) for n, p in network.named_parameters()}
        self.learner = Learner(
            network,
            [p for n, p in network.named_parameters() if n.endswith(("d.weight", "project.weight"))
             and p.ndim == 2],
            run,
            rates=(recipe.matrix_rate, recipe.other_rate),
            decays=(recipe.weight_decay, 0.0),
            warmup=recipe.warmup,
            average=recipe.average,
            clip=5.0,
            newton_schulz_steps=recipe.newton_schulz_steps,
            slower=lambda p: shares.get(id(p), 1.0),
        )  # fmt: skip
        self.network, self.average = self.learner.network, self.learner.average
        self.config = {**asdict(recipe), "network": recipe.network.to_dict()}
        self.learner.resume(self.config)

    def _step(self) -> tuple[Tensor, dict[str, float]]:
        seed = self.seed
        pixels = self._pixels(seed).to(self.device, memory_format=torch.channels_last)
        quality = np.random.default_rng(abs(seed)).uniform(0, 90)
        torch.manual_seed(seed)
        bits, error = self._pass(self.network, pixels, quality, hard=None)
        weight = weight_of(quality)
        loss = (bits + error / weight) * math.sqrt(weight / MIDDLE)
        psnr = -10 * math.log10(error.item())
        return loss, {"loss": loss.item(), "bpp": bits.item(), "psnr": psnr}

    def _pixels(self, seed: int) -> Tensor:
        """Return a batch in 0 to 1."""
        recipe = self.recipe
        return next(crops(self.pictures, recipe.crop, recipe.batch, seed, recipe.zoom)) / 2 + 0.5

    def _pass(
        self, network: ImageInr, pixels: Tensor, quality: float, hard: bool | None
    ) -> tuple[Tensor, Tensor]:
        """Return bits a pixel and mean squared error; `hard` None follows the schedule."""
        rate = rate_of(weight_of(quality))
        with torch.autocast(self.device.type, torch.bfloat16):
            scales = network.analyse(pixels, rate)
        if hard is None:
            hard = self.run.progress >= self.recipe.hard
            scales = [
                straight_through(y, HARD_TEMPERATURE) if hard else noisy(y, TEMPERATURE, SHARPNESS)
                for y in scales
            ]
        else:
            scales = [y.round() for y in scales]
        bits = network.bits(scales, rate).sum()
        with torch.autocast(self.device.type, torch.bfloat16):
            drawn = network.render(scales, rate)
        area = pixels.shape[0] * pixels.shape[2] * pixels.shape[3]
        return bits / area, (drawn.float() - pixels).square().mean()

    def _validate(self) -> None:
        if self.run.options.validation is None:
            return
        pictures = read_pictures(self.run.options.validation, {}, 1)[::4]
        scores: dict[str, float] = {}
        for quality in VALIDATION_QUALITIES:
            found = []
            for picture in pictures:
                pixels = whole(picture, ALIGN, self.device) / 2 + 0.5
                with torch.no_grad():
                    bits, error = self._pass(self.average, pixels, quality, hard=True)
                found.append((bits.item(), -10 * math.log10(error.item())))
            bpp, psnr = np.mean(found, 0)
            scores[f"bpp{quality:.0f}"], scores[f"psnr{quality:.0f}"] = float(bpp), float(psnr)
        self.run.log(**scores)

    def export(self) -> Path:
        """Write configuration, weights, and the exact prior as a weights folder."""
        folder = self.run.folder / "export"
        folder.mkdir(parents=True, exist_ok=True)
        state = {k: v.float().cpu().numpy() for k, v in self.average.state_dict().items()}
        tensors = {k: v for k, v in state.items() if not k.startswith("arms.")}
        rough = (
            "analysis.down",
            "analysis.up",
            "analysis.heads",
            "analysis.shrink",
            "analysis.grow",
        )
        exact = {k for k in tensors if not k.startswith(rough)}
        write_model(folder, weights.quantize_rows(tensors, keep=exact, bits=7))
        write_prior(folder, prior_of(self.average))
        config = {"codec": "image/inr", "version": 1, **self.recipe.network.to_dict()}
        (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")
        return folder


def _share(name: str, recipe: ImageInrRecipe) -> float:
    """Return how fast a parameter learns, by its name.

    The wavelet is good from the beginning and only needs to be tuned; what the models of latents
    say last counts steps and classes, which are small numbers' multiples.
    """
    if "ings." in name or "colours" in name:
        return recipe.filter_share
    if name.startswith("arms."):
        return 20.0 if name.endswith("last_bias") else 3.0
    return 1.0


@torch.no_grad()
def begin_arms(network: ImageInr, pixels: Tensor) -> None:
    """Let the models of latents begin with the mean sizes that planes have in some pictures."""
    for arms, y in zip(network.arms, network.analyse(pixels, 0.0), strict=True):
        sizes = y.abs().mean((0, 2, 3)).clamp(min=LEAST)
        arms.last_bias[:, 1] = torch.log(sizes / LEAST) / math.log(RATIO)


def prior_of(network: ImageInr) -> dict[str, NDArray[Any]]:
    """Return the tensors of the exact prior: integers of the models, and tables."""
    laplace = LEAST * RATIO ** np.arange(CLASSES, dtype=np.float64)
    frequencies, shifts = laplace_tables(laplace)
    tensors: dict[str, NDArray[Any]] = {"frequencies": frequencies, "shifts": shifts}
    tensors |= arm_integers(network.arms)
    tensors["sizes"] = np.array([flat(group).numel() for group in groups(network)], np.int32)
    rates = [rate_of(weight_of(quality)) * (1 << RATE_BITS) for quality in range(101)]
    tensors["rates"] = np.round(rates).astype(np.int32)
    with torch.no_grad():
        steps = [torch.cat(network.steps(rate / (1 << RATE_BITS))).flatten() for rate in rates]
    tensors["steps"] = np.round(torch.stack(steps).double().cpu().numpy() * (1 << STEP_BITS))
    tensors["steps"] = tensors["steps"].astype(np.int32)
    return tensors
