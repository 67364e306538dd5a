"""The recipe of `image/vq`: mean squared error, Muon and AdamW, weights averaged at the end."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor
from torch.nn import functional as F

from omnicodec.codecs.prior import StaticPrior
from omnicodec.models import weights
from omnicodec.models.image.vq import ImageVQ, ImageVQConfig
from omnicodec.models.layers import channels_last
from omnicodec.service.train.balancer import Balancer
from omnicodec.service.train.critics import Critics
from omnicodec.service.train.files import write_model, write_prior
from omnicodec.service.train.learner import Learner
from omnicodec.service.train.picture_critics import PictureDiscriminators, judge_pictures
from omnicodec.service.train.pictures import crops, read_pictures, whole
from omnicodec.service.train.run import Run
from omnicodec.service.train.settings import split_settings
from omnicodec.service.train.training import Training

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

    The last steps, from the share `adversarial` of the run on, are trained against
    discriminators as well: decoded pictures become sharper, and a little less exact. The
    weights give each loss its share of the gradient. `begin` is a checkpoint of another run,
    or a folder of weights, to begin from; with `decoder_only` its encoder stays as it is, and so
    do tokens, priors, and what was trained on them.

    Matrices are trained by Muon (Jordan et al. 2024; momentum orthogonalized by
    Newton-Schulz), which here gained 0.9 dB over AdamW at equal time in short runs;
    everything else by AdamW.
    """

    codec: ClassVar[str] = "image/vq"
    version: ClassVar[int] = 2

    batch: int = 12
    crop: int = 224
    zoom: float = 1.4
    matrix_rate: float = 5e-3
    other_rate: float = 2e-3
    weight_decay: float = 0.02
    newton_schulz_steps: int = 4
    warmup: int = 100
    average: float = 0.998
    adversarial: float = 1.0
    adversarial_weight: float = 0.3
    feature_weight: float = 0.3
    discriminator_rate: float = 4e-4
    judged: int = 160
    begin: str = ""
    decoder_only: bool = False
    compile: bool = False
    network: ImageVQConfig = field(default_factory=ImageVQConfig)

    @classmethod
    def from_settings(cls, settings: Mapping[str, Any]) -> Self:
        """Return the recipe with `settings`, whose network keys begin with "network."."""
        usual = cls().network
        plain, network = split_settings(cls.codec, settings, cls(), usual, items_above=1)
        return cls(**plain, network=ImageVQConfig.from_dict({**usual.to_dict(), **network}))

    def train(self, data: Path, run: Run) -> Path:
        """Train on the pictures below `data`; return the folder of the exported weights."""
        return _Training(self, data, run).go()


@dataclass(frozen=True, kw_only=True)
class ImageVQ8Recipe(ImageVQRecipe):
    """The same for `image/vq8`: smaller patches, and so smaller networks and crops."""

    codec: ClassVar[str] = "image/vq8"
    version: ClassVar[int] = 2

    crop: int = 160
    matrix_rate: float = 8e-3
    judged: int = 128
    network: ImageVQConfig = field(
        default_factory=lambda: ImageVQConfig(
            patch=8,
            encoder_channels=192,
            encoder_blocks=4,
            decoder_channels=224,
            decoder_blocks=4,
            head_channels=64,
            head_blocks=1,
        )
    )


class _Training(Training):
    """The moving parts of one sitting."""

    def __init__(self, recipe: ImageVQRecipe, data: Path, run: Run) -> None:
        super().__init__(run)
        self.recipe = recipe
        torch.manual_seed(run.options.seed)
        self.pictures = read_pictures(data, GROUP_WEIGHTS, recipe.crop)
        run.report(f"{len(self.pictures)} pictures, device {self.device}")
        network = channels_last(_first(recipe).to(self.device))
        if recipe.decoder_only:
            for part in (network.embed, network.encoder, network.to_code):
                part.requires_grad_(False)
        self.balancer = Balancer(
            {
                "squared": 1.0,
                "adversarial": recipe.adversarial_weight,
                "feature": recipe.feature_weight,
            }
        ).to(self.device)
        self.critics = Critics(
            PictureDiscriminators().to(self.device), recipe.discriminator_rate, (0.5, 0.99)
        )
        self.learner = Learner(
            network,
            # The matrices of the blocks are Muon's; embedding, codes and pixels are not.
            [
                parameter
                for name, parameter in network.named_parameters()
                if name.endswith(("expand.weight", "project.weight")) and parameter.requires_grad
            ],
            run,
            rates=(recipe.matrix_rate, recipe.other_rate),
            decays=(recipe.weight_decay, recipe.weight_decay),
            warmup=recipe.warmup,
            average=recipe.average,
            clip=1.0,
            newton_schulz_steps=recipe.newton_schulz_steps,
            beside={"balancer": self.balancer, "discriminators": self.critics.network},
            beside_optimizers={"discriminators_optimizer": self.critics.optimizer},
        )
        self.network, self.average = self.learner.network, self.learner.average
        self.config = {**asdict(recipe), "network": recipe.network.to_dict()}
        self.learner.resume(self.config)
        self.forward = torch.compile(self.network) if recipe.compile else self.network

    def _step(self) -> tuple[Tensor, dict[str, Tensor]]:
        recipe = self.recipe
        batch = next(crops(self.pictures, recipe.crop, recipe.batch, self.seed, recipe.zoom))
        pixels = batch.to(self.device, memory_format=torch.channels_last)
        with torch.autocast(self.device.type, torch.bfloat16):
            drawn = self.forward(pixels).float()
        return self._loss(drawn, pixels)

    def _shown(self, means: dict[str, float]) -> dict[str, float]:
        return {"train_psnr": _psnr(means.pop("squared")), **means}

    def _loss(self, drawn: Tensor, pixels: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the loss of a batch, and its parts for the log."""
        recipe = self.recipe
        if self.run.progress < recipe.adversarial:
            loss = F.mse_loss(drawn, pixels)
            return loss, {"squared": loss.detach()}
        leaf = drawn.detach().requires_grad_()
        size = min(recipe.judged, recipe.crop)
        judged = judge_pictures(self.critics, leaf, pixels, size, self.run.step)
        losses = {"squared": F.mse_loss(leaf, pixels), **judged.losses}
        gradient = self.balancer.gradient(losses, leaf)
        parts = {**losses, "discriminator": judged.own}
        return (drawn * gradient).sum(), {k: v.detach() for k, v in parts.items()}

    def _validate(self) -> None:
        if self.run.options.validation is None:
            return
        pictures = read_pictures(self.run.options.validation, {}, 1)
        scores = []
        for picture in pictures:
            pixels = whole(picture, self.recipe.network.patch, self.device)
            with torch.inference_mode(), torch.autocast(self.device.type, torch.bfloat16):
                drawn = self.average(pixels).float().clamp(-1, 1)
            scores.append(_psnr(F.mse_loss(drawn, pixels).item()))
        self.run.log(validation_psnr=float(np.mean(scores)))

    def export(self) -> Path:
        """Write configuration, weights and the prior as a weights folder."""
        folder = self.run.folder / "export"
        folder.mkdir(parents=True, exist_ok=True)
        recipe = self.recipe
        write_model(folder, self.learner.in_7_bits())
        config = {"codec": recipe.codec, "version": recipe.version, **recipe.network.to_dict()}
        (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")
        write_prior(folder, self._prior().tables())
        return folder

    @torch.inference_mode()
    def _prior(self) -> StaticPrior:
        levels = self.recipe.network.levels
        counts = [np.zeros(n, np.int64) for n in levels]
        for picture in self.pictures:
            ids = self.average.encode(whole(picture, self.recipe.network.patch, self.device))
            row = ids.cpu().numpy().reshape(-1)
            for n, count in zip(levels, counts, strict=True):
                row, digit = np.divmod(row, n)
                count += np.bincount(digit, minlength=n)
        return StaticPrior.train([counts])


def _first(recipe: ImageVQRecipe) -> ImageVQ:
    """Return the network that a run begins with."""
    network = ImageVQ(recipe.network)
    if recipe.begin and Path(recipe.begin).is_dir():
        stored = weights.dequantize(weights.read_folder(Path(recipe.begin)).tensors)
        network.load_state_dict({k: torch.from_numpy(v).float() for k, v in stored.items()})
    elif recipe.begin:
        tensors = load_file(recipe.begin)
        kept = {k.removeprefix("average/"): v for k, v in tensors.items() if "average/" in k}
        network.load_state_dict(kept)
    return network


def _psnr(mean_squared_error: float) -> float:
    """Return PSNR in dB of values in -1 to 1."""
    return -10 * math.log10(max(mean_squared_error, 1e-12) / 4)
