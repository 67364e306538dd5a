"""The recipe of `image/rate`: bits and squared error together, at all qualities at once."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from omnicodec.codecs import InvalidInput
from omnicodec.codecs.image._rate_prior import config_of
from omnicodec.models import weights
from omnicodec.models.image.context import GROUPS, ContextModel, bits
from omnicodec.models.image.lapped import lapped_kernels
from omnicodec.models.image.rate import PEAK, ImageRate, RateConfig, build, mirrored, weight_of
from omnicodec.models.image.rate_contexts import PREDICTION_BITS
from omnicodec.models.image.rate_prior import RatePriorNet
from omnicodec.models.layers import channels_last
from omnicodec.service.train.files import write_model, write_prior
from omnicodec.service.train.image_rate_prior import (
    Log,
    RatePriorSettings,
    fit_rate_prior,
    item,
    load_integers,
)
from omnicodec.service.train.image_vq import GROUP_WEIGHTS
from omnicodec.service.train.learner import Learner
from omnicodec.service.train.pictures import Picture, crops, read_pictures, whole
from omnicodec.service.train.run import Run
from omnicodec.service.train.settings import split_settings
from omnicodec.service.train.training import Training

VALIDATION_QUALITIES = (15.0, 30.0, 50.0)

PASSES = 3
"""Qualities at which each picture is coded for the prior."""

WHOLE = (
    "log_steps",
    "analysis.transform",
    "analysis.dead",
    "analysis.modulation.scale",
    "analysis.modulation.shift",
    "synthesis.transform",
    "synthesis.modulation.scale",
    "synthesis.modulation.shift",
    "synthesis.signs",
    "synthesis.spread",
)
"""Weights that are stored in half precision, since 8 bits would cost quality."""


@dataclass(frozen=True, kw_only=True)
class ImageRateRecipe:
    """Settings of a run; the networks' own are in `network`.

    Each crop has a quality of its own: uniform in 0 to `common`, or now and then up to 100.
    `transform_rate` is a factor on the learning rate of the lapped transform. `begin` is a
    checkpoint of another run, or a folder of weights, to begin from. Fitting the exact prior at
    the end takes `prior_minutes` more.
    """

    batch: int = 8
    crop: int = 224
    zoom: float = 1.4
    common: float = 75.0
    matrix_rate: float = 4e-3
    other_rate: float = 1e-3
    transform_rate: float = 0.15
    weight_decay: float = 0.01
    newton_schulz_steps: int = 4
    warmup: int = 50
    average: float = 0.998
    begin: str = ""
    prior_minutes: float = 10.0
    network: RateConfig = field(default_factory=RateConfig)

    @classmethod
    def from_settings(cls, settings: Mapping[str, Any]) -> Self:
        """Return the recipe with `settings`, whose network keys begin with "network."."""
        plain, network = split_settings("image/rate", settings, cls(), RateConfig())
        return cls(**plain, network=RateConfig.from_dict(network))

    def train(self, data: Path, run: Run) -> Path:
        """Train on the pictures below `data`; return the folder of the exported weights."""
        return _Training(self, data, run).go()


class Trained(nn.Module):
    """What one run trains: the transform, and the context model that it is trained against."""

    def __init__(self, config: RateConfig) -> None:
        super().__init__()
        self.rate = ImageRate(config)
        self.context = ContextModel()

    def forward(self, pixels: Tensor, quality: Tensor) -> tuple[Tensor, Tensor]:
        """Return the reconstruction, and the bits of each item's latents `(B,)`.

        Rounded latents are drawn from and are contexts, with gradients straight through; the
        bits are those of latents with noise (Minnen and Singh 2020, arXiv:2007.08739).
        """
        y = self.rate.analyse(pixels, quality).float()
        rounded = y + (y.round() - y).detach()
        noisy = y + torch.rand_like(y) - 0.5 if self.training else rounded
        mean, scale = self.context(rounded, quality)
        information = bits(noisy, mean, scale).sum((1, 2, 3))
        return self.rate.render(rounded, quality), information


class _Training(Training):
    """The moving parts of one sitting."""

    def __init__(self, recipe: ImageRateRecipe, data: Path, run: Run) -> None:
        super().__init__(run)
        self.recipe = recipe
        torch.manual_seed(run.options.seed)
        self.pictures = read_pictures(data, GROUP_WEIGHTS, recipe.crop)
        run.report(f"{len(self.pictures)} pictures, device {self.device}")
        network = Trained(recipe.network)
        self._begin(network)
        network = channels_last(network.to(self.device))
        transform = {id(network.rate.analysis.transform), id(network.rate.synthesis.transform)}
        self.learner = Learner(
            network,
            [
                parameter
                for name, parameter in network.named_parameters()
                if name.endswith(("expand.weight", "project.weight", "enter.weight"))
            ],
            run,
            rates=(recipe.matrix_rate, recipe.other_rate),
            decays=(recipe.weight_decay, 0.0),
            warmup=recipe.warmup,
            average=recipe.average,
            clip=20.0,
            newton_schulz_steps=recipe.newton_schulz_steps,
            slower=lambda p: recipe.transform_rate if id(p) in transform else 1.0,
        )
        self.network, self.average = self.learner.network, self.learner.average
        self.average.eval()
        self.config = {**asdict(recipe), "network": recipe.network.to_dict()}
        self.learner.resume(self.config)

    def _begin(self, network: Trained) -> None:
        if self.recipe.begin:
            begin(network, Path(self.recipe.begin))
            return
        chosen, spread = strongest(self.pictures, self.recipe.network)
        network.rate.start(chosen, spread)
        # Flat colour is predicted as the mean of what is to the left and above.
        size = self.recipe.network.patch
        for channel in torch.nonzero(chosen[: GROUPS[0]] % size**2 == 0).flatten():
            network.context.lowest.linear.data[channel, [channel, 2 * GROUPS[0] + channel]] = 0.5

    def _step(self) -> tuple[Tensor, dict[str, float]]:
        recipe, seed = self.recipe, self.seed
        batch = next(crops(self.pictures, recipe.crop, recipe.batch, seed, recipe.zoom))
        pixels = batch.to(self.device, memory_format=torch.channels_last)
        quality = self._qualities(seed)
        torch.manual_seed(seed)
        with torch.autocast(self.device.type, torch.bfloat16):
            drawn, information = self.network(pixels, quality)
        error = PEAK**2 * (drawn.float() - pixels).square().mean((1, 2, 3))
        rate = information / pixels[0, 0].numel()
        weight = weight_of(quality, recipe.network)
        # The square root evens out what qualities count: costs grow with the weight.
        loss = ((rate + weight * error) / weight.sqrt()).mean()
        psnr = 20 * math.log10(255) - 10 * error.log10().mean().item()
        return loss, {"loss": loss.item(), "bpp": rate.mean().item(), "psnr": psnr}

    def _qualities(self, seed: int) -> Tensor:
        drawn = torch.rand(2, self.recipe.batch, generator=torch.Generator().manual_seed(seed))
        top = torch.where(drawn[1] < 0.15, 100.0, self.recipe.common)
        return (drawn[0] * top).to(self.device)

    def _validate(self) -> None:
        if self.run.options.validation is None:
            return
        pictures = read_pictures(self.run.options.validation, {}, 1)[::4]
        scores: dict[str, float] = {}
        for quality in VALIDATION_QUALITIES:
            rates, errors = [], []
            for picture in pictures:
                pixels = whole(picture, self.recipe.network.patch, self.device)
                with torch.inference_mode(), torch.autocast(self.device.type, torch.bfloat16):
                    drawn, information = self.average(
                        pixels, torch.tensor([quality], device=self.device)
                    )
                drawn = drawn.float().clamp(-1, 1)
                rates.append(information.item() / pixels[0, 0].numel())
                error = PEAK**2 * (drawn - pixels).square().mean().item()
                errors.append(20 * math.log10(255) - 10 * math.log10(error))
            scores[f"bpp{quality:.0f}"] = float(np.mean(rates))
            scores[f"psnr{quality:.0f}"] = float(np.mean(errors))
        self.run.log(**scores)

    def export(self) -> Path:
        """Write configuration, weights and the exact prior as a weights folder."""
        folder = self.run.folder / "export"
        folder.mkdir(parents=True, exist_ok=True)
        tensors = {k: v.float().cpu().numpy() for k, v in self.average.rate.state_dict().items()}
        write_model(folder, weights.quantize_rows(tensors, keep=WHOLE, bits=7))
        config = {"codec": "image/rate", "version": 2, **self.recipe.network.to_dict()}
        (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")
        start = {k: v.float().cpu() for k, v in self.average.context.state_dict().items()}
        settings = RatePriorSettings(minutes=self.recipe.prior_minutes)
        write_prior(folder, _fit_prior(folder, self.pictures, start, settings, self.run.log))
        return folder


def refit_prior(folder: Path, data: Path, settings: RatePriorSettings, log: Log) -> None:
    """Fit the prior of exported weights to the pictures below `data`, from where it is on."""
    pictures = read_pictures(data, GROUP_WEIGHTS, 64)
    start = weights.read_folder(folder).prior
    write_prior(folder, _fit_prior(folder, pictures, start, settings, log))


def _fit_prior(
    folder: Path,
    pictures: list[Picture],
    start: Mapping[str, Any],
    settings: RatePriorSettings,
    log: Log,
) -> dict[str, NDArray[Any]]:
    """Return the prior for what exported weights make of pictures, at many qualities."""
    shipped = weights.read_folder(folder)
    values = weights.dequantize(shipped.tensors)
    network = build(
        RateConfig.from_dict(shipped.config),
        {name: torch.from_numpy(array) for name, array in values.items()},
        "cpu",
    )
    drawn = np.random.default_rng(settings.seed).integers(0, 21, (len(pictures), PASSES))
    items = []
    for picture, places in zip(pictures, drawn, strict=True):
        pixels = whole(picture, network.config.patch, torch.device("cpu"))
        for quality in places * 5.0:  # what chunks can say
            with torch.inference_mode():
                y = network.analyse(pixels, torch.tensor([quality], dtype=torch.float32))
            items.append(item(y[0].round().to(torch.int32).numpy(), quality))
    return fit_rate_prior(items, start, settings, log)


def begin(network: Trained, path: Path) -> None:
    """Give the networks the weights of a run's checkpoint, or of a folder of exported weights.

    They may have more blocks than those had: new ones begin as nothing. Raises `InvalidInput`
    for weights of other sizes.
    """
    try:
        if path.is_dir():
            found = _exported(weights.read_folder(path))
        else:
            found = {
                k.removeprefix("average/"): v for k, v in load_file(path).items() if "average/" in k
            }
        unknown = network.load_state_dict(found, strict=False).unexpected_keys
    except (OSError, KeyError, ValueError, RuntimeError, SafetensorError) as e:
        raise InvalidInput(f"a run cannot begin from {str(path)!r}: {e}") from e
    if unknown or not found:
        raise InvalidInput(f"a run cannot begin from {str(path)!r}: it has other networks")


def _exported(shipped: weights.Shipped) -> dict[str, Tensor]:
    """Return the state of `Trained` that exported weights hold; the prior's is the context's."""
    context = ContextModel()
    prior = RatePriorNet(config_of(shipped.prior))
    load_integers(prior, shipped.prior)
    state = context.state_dict()
    prior.fill_context(state)
    prediction = torch.from_numpy(np.array(shipped.prior["prediction"], np.float32))
    state["lowest.linear"] = prediction.t() / (1 << PREDICTION_BITS)
    values = weights.dequantize(shipped.tensors)
    rate = {f"rate.{k}": torch.from_numpy(np.array(v, np.float32)) for k, v in values.items()}
    return {**rate, **{f"context.{k}": v for k, v in state.items()}}


@torch.inference_mode()
def strongest(pictures: list[Picture], config: RateConfig) -> tuple[Tensor, Tensor]:
    """Return which lapped functions vary most over pictures, most first, and how much.

    Both are `(channels,)`: places in `lapped_kernels` and standard deviations.
    """
    size = config.patch
    kernels = torch.from_numpy(lapped_kernels(size)).float()
    total, count = torch.zeros(len(kernels), dtype=torch.float64), 0
    for picture in pictures[:: max(1, len(pictures) // 200)]:
        pixels = mirrored(whole(picture, size, torch.device("cpu")), size // 2)
        found = torch.nn.functional.conv2d(pixels, kernels, stride=size)
        total += found.double().square().sum((0, 2, 3))
        count += found[0, 0].numel()
    order = total.argsort(descending=True, stable=True)[: config.channels]
    return order, (total[order] / count).sqrt().float()
