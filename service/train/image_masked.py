"""The recipe of the network that fills in lost tokens of `image/vq` and `image/vq8`."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Final, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from omnicodec.codecs import InvalidInput
from omnicodec.codecs.image._vq import MASKED, VQCodec
from omnicodec.codecs.registry import load
from omnicodec.models import weights
from omnicodec.models.image.masked import MaskedTokens, MaskedTokensConfig
from omnicodec.models.layers import channels_last
from omnicodec.service.train.files import write_model
from omnicodec.service.train.image_codes import Grid, code_pictures
from omnicodec.service.train.learner import Learner
from omnicodec.service.train.pictures import read_pictures
from omnicodec.service.train.run import Run
from omnicodec.service.train.settings import split_settings
from omnicodec.service.train.training import Training

NAME: Final = "image/masked"

_SMALLEST: Final = 0.5  # of a crop, on a side; smaller pictures are left out
_VALIDATED: Final = 0.2  # of the tokens, one by one, are masked in validation


@dataclass(frozen=True, kw_only=True)
class ImageMaskedRecipe:
    """Settings of a run; the network's own are in `network`.

    `of` is the codec whose tokens it learns: a folder of weights, which then gets the network
    in its folder `masked`, or the name of one that ships. A network that is there already is
    where the run begins, unless `fresh`. `views` are the ways in which pictures are seen,
    `crop` the side of what is learned at once, in tokens.
    """

    of: str = "image/vq"
    fresh: bool = False
    views: int = 3
    batch: int = 16
    crop: int = 16
    matrix_rate: float = 5e-3
    other_rate: float = 2e-3
    weight_decay: float = 0.02
    newton_schulz_steps: int = 4
    warmup: int = 50
    average: float = 0.99
    network: MaskedTokensConfig = field(default_factory=MaskedTokensConfig)

    @classmethod
    def from_settings(cls, settings: Mapping[str, Any]) -> Self:
        """Return the recipe with `settings`, whose network keys begin with "network."."""
        plain, network = split_settings(NAME, settings, cls(), MaskedTokensConfig(), items_above=1)
        config = MaskedTokensConfig.from_dict(network)
        if config.channels % config.heads or config.window % 2:
            raise ValueError("heads share the channels evenly, and a window's side is even")
        return cls(**plain, network=config)

    def train(self, data: Path, run: Run) -> Path:
        """Train on the pictures below `data`; return the folder of the exported weights."""
        return _Training(self, data, run).go()


class _Training(Training):
    """The moving parts of one sitting."""

    def __init__(self, recipe: ImageMaskedRecipe, data: Path, run: Run) -> None:
        super().__init__(run)
        self.folder = Path(recipe.of) if Path(recipe.of).is_dir() else None
        codec = load(self.folder or recipe.of, device=run.options.device)
        if not isinstance(codec, VQCodec):
            raise InvalidInput(f"{recipe.of!r} is {codec.spec.name}, not an image/vq")
        self.recipe = recipe = replace(recipe, network=replace(recipe.network, levels=codec.levels))
        self.grids = _coded(codec, data, recipe.views, recipe.crop)
        run.report(f"{sum(grid.size for grid in self.grids)} tokens, device {self.device}")
        self.validation: list[Grid] = []
        if run.options.validation is not None:
            self.validation = _coded(codec, run.options.validation, 1, 1)
        torch.manual_seed(run.options.seed)  # here, as opening a codec draws numbers too
        network = MaskedTokens(recipe.network)
        if self.folder is not None and not recipe.fresh:
            _begin(network, self.folder / MASKED)
        self.learner = Learner(
            channels_last(network.to(self.device)),
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
        self.config = {
            **asdict(recipe), "network": recipe.network.to_dict(), "codec": codec.spec.fingerprint
        }  # fmt: skip
        self.learner.resume(self.config)

    def _step(self) -> tuple[Tensor, dict[str, float]]:
        indices, missing = self._batch(self.seed)
        with torch.autocast(self.device.type, torch.bfloat16):
            logits = self.learner.network(indices, missing)
        loss = _nats(self.learner.network, logits, indices, missing)
        return loss, {"train_nats": loss.item()}

    def _batch(self, seed: int) -> tuple[Tensor, Tensor]:
        rng = random.Random(seed)
        side = self.recipe.crop
        areas = [grid.size**0.5 for grid in self.grids]
        crops, masks = [], []
        for grid in rng.choices(self.grids, areas, k=self.recipe.batch):
            y, x = (rng.randrange(max(0, n - side) + 1) for n in grid.shape)
            crop = grid[y : y + side, x : x + side]
            lost = draw_mask(crop.shape, rng)
            # Smaller pictures are filled up with tokens that are missing and do not count.
            crops.append(np.pad(crop, [(0, side - n) for n in crop.shape], constant_values=-1))
            masks.append(np.pad(lost, [(0, side - n) for n in lost.shape], constant_values=True))
        indices = torch.from_numpy(np.stack(crops).astype(np.int64))
        return indices.to(self.device), torch.from_numpy(np.stack(masks)).to(self.device)

    @torch.inference_mode()
    def _validate(self) -> None:
        if not self.validation:
            return
        nats, squared = [], []
        for number, grid in enumerate(self.validation):
            rng = np.random.default_rng(number)
            missing = torch.from_numpy(rng.random(grid.shape) < _VALIDATED)[None].to(self.device)
            if not missing.any():
                continue
            indices = torch.from_numpy(grid.astype(np.int64))[None].to(self.device)
            network = self.learner.average
            logits = network(indices, missing)
            nats.append(_nats(network, logits, indices, missing).item())
            truth = network.vectors(indices)
            error = (network.expected(logits) - truth).square().mean(1)
            squared.append(error[missing].mean().item())
        if nats:
            self.run.log(validation_nats=float(np.mean(nats)), code_mse=float(np.mean(squared)))

    def export(self) -> Path:
        """Write the network in 8 bits, and into the codec's folder of weights if it is one."""
        folder = self.run.folder / "export"
        folder.mkdir(parents=True, exist_ok=True)
        names = {name for name, _ in self.learner.average.named_parameters()}
        biases = {name for name in names if name.endswith("bias")}
        write_model(folder, self.learner.in_7_bits(biases))
        (folder / "config.json").write_text(json.dumps(self.recipe.network.to_dict()) + "\n")
        if self.folder is None:
            return folder
        installed = self.folder / MASKED
        shutil.copytree(folder, installed, dirs_exist_ok=True)
        return installed


def draw_mask(shape: Sequence[int], rng: random.Random) -> NDArray[np.bool_]:
    """Return which tokens of a crop are lost, at least one.

    They are single ones, a run of them as in a lost chunk, or a block.
    """
    height, width = shape
    lost = np.zeros((height, width), np.bool_)
    kind = rng.random()
    if kind < 0.7:
        share = rng.uniform(0.05, 0.6)
        lost[:] = np.random.default_rng(rng.getrandbits(32)).random((height, width)) < share
    elif kind < 0.85:
        length = max(1, round(lost.size * rng.uniform(0.1, 0.5)))
        start = rng.randrange(lost.size - length + 1)
        lost.reshape(-1)[start : start + length] = True
    else:
        down, across = (max(1, round(n * rng.uniform(0.2, 0.7))) for n in (height, width))
        y, x = rng.randrange(height - down + 1), rng.randrange(width - across + 1)
        lost[y : y + down, x : x + across] = True
    lost[rng.randrange(height), rng.randrange(width)] = True
    return lost


def _nats(
    network: MaskedTokens, logits: tuple[Tensor, ...], indices: Tensor, missing: Tensor
) -> Tensor:
    """Return the mean cost of a missing token; those of index -1 do not count."""
    counted = missing & (indices >= 0)
    digits = network.digits(indices.clamp(min=0))
    total = torch.zeros((), device=indices.device)
    for part, digit in zip(logits, digits, strict=True):
        total = total + F.cross_entropy(part.float().permute(0, 2, 3, 1)[counted], digit[counted])
    return total


def _coded(codec: VQCodec, data: Path, views: int, crop: int) -> list[Grid]:
    smallest = max(1, round(_SMALLEST * crop))
    pictures = read_pictures(data, {}, int(codec.spec.covers["height"]) * smallest)
    grids = [grid for seen in code_pictures(codec, pictures, views) for grid in seen]
    return [grid for grid in grids if min(grid.shape) >= smallest]


def _begin(network: MaskedTokens, folder: Path) -> None:
    """Give a network the weights of a folder, where there is one of the same shape."""
    stored = weights.read_folder(folder)
    config = network.config.to_dict()
    if {k: stored.config.get(k) for k in config} != config:
        return
    values = weights.dequantize(stored.tensors)
    network.load_state_dict({k: torch.from_numpy(v).float() for k, v in values.items()})
