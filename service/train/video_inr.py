"""The recipe of `video/inr`: what predicted frames share, on top of the networks of `image/inr`.

Clips are encoded with the models that there are, and models and tables are fitted to what comes
out, which is done some times over. Pictures become clips, too: a camera moves over them.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from omnicodec.codecs import InvalidInput, Video
from omnicodec.codecs.prior.rans import FRACTIONS, SYMBOLS, TOTAL
from omnicodec.codecs.prior.static import quantize_counts
from omnicodec.codecs.video._inr_kernels import count_activity
from omnicodec.codecs.video._motion_prior import fit_motion
from omnicodec.models import weights
from omnicodec.models.inr.arm import Arms, arm_integers, floats_of, laplace_bits
from omnicodec.models.inr.arm_kernels import INPUTS, LEAST, RATIO
from omnicodec.models.inr.exact_arm import CONTEXT_BITS, RATE_BITS, room_for, shared_arms
from omnicodec.models.inr.frames import Key, Pixels, Predicted, Renderer
from omnicodec.models.inr.group import GroupEncoder
from omnicodec.models.inr.image import (
    ImageInr,
    ImageInrConfig,
    build,
    padded_input,
    rate_of,
    weight_of,
)
from omnicodec.models.inr.pyramid import channels
from omnicodec.models.inr.residual import LEVELS, STEP_BITS
from omnicodec.models.inr.residual import weight_of as residual_weight
from omnicodec.models.inr.residual_planes import PLANES, around_of, contexts_of, side_of
from omnicodec.service.train.files import write_model, write_prior
from omnicodec.service.train.image_vq import GROUP_WEIGHTS
from omnicodec.service.train.pictures import Picture, read_pictures
from omnicodec.service.train.run import Run
from omnicodec.service.train.settings import split_settings

QUALITIES: Final = (10, 20, 30, 40, 50, 62, 75)

_LENGTH: Final = 9
"""Frames of a training clip: an anchor, and all that is between."""

_SIDE: Final = 288
_MOST: Final = 1500
"""Latents of a plane of a frame that are learned from."""


@dataclass(frozen=True, kw_only=True)
class VideoInrRecipe:
    """Settings of a run. `begin` is a folder with the weights of `image/inr`, which are kept.

    `residual` may be a folder with weights of `video/inr`, from whose models and tables the run
    goes on; with 0 `rounds` they are put together with those of `begin` as they are.
    Half of the clips are made of `pictures`, a folder or shard, where it is given. `step` is the
    step of latents, as a share of what is best for a transform at many bits.
    """

    begin: str = ""
    residual: str = ""
    pictures: str = ""
    rounds: int = 2
    clips: int = 48
    steps: int = 1500
    batch: int = 1024
    rate: float = 5e-3
    step: float = 1.0

    @classmethod
    def from_settings(cls, settings: Mapping[str, Any]) -> Self:
        """Return the recipe with `settings`."""
        plain, _ = split_settings("video/inr", settings, cls(), ImageInrConfig())
        return cls(**plain)

    def train(self, data: Path, run: Run) -> Path:
        """Train on the clips and pictures below `data`; return the folder of weights."""
        if not self.begin:
            raise InvalidInput("video/inr begins with the weights of image/inr: --set begin=FOLDER")
        return _Training(self, data, run).go()


class _Training:
    def __init__(self, recipe: VideoInrRecipe, data: Path, run: Run) -> None:
        self._recipe, self._run, self._data = recipe, run, data
        torch.manual_seed(run.options.seed)
        self._shipped = weights.read_folder(Path(recipe.begin))
        prior = self._shipped.prior
        self._network: ImageInr = build(self._shipped, shared_arms(prior), "cpu")
        self._arms = [Arms(count) for count in channels(LEVELS)]
        self._modules = nn.ModuleList(self._arms)
        for arms in self._arms:
            nn.init.constant_(arms.last_bias[:, 1], 4.0)
        self._fresh = not recipe.residual
        levels = np.array([residual_weight(q) for q in range(101)])
        # The step at which squared error falls as fast with bits as the weight says.
        steps = recipe.step * 255 * np.sqrt(36 * levels / (2 * math.log(2)))
        rates = np.array([rate_of(weight) for weight in levels])
        self._tensors: dict[str, NDArray[Any]] = {
            **{k: v for k, v in prior.items() if k != "sizes"},
            "residual_steps": np.round(steps * (1 << STEP_BITS)).astype(np.int32),
            "residual_rates": np.round(rates * (1 << RATE_BITS)).astype(np.int32),
        }

        if recipe.residual:
            self._go_on(weights.read_folder(Path(recipe.residual)).prior)

    def _go_on(self, prior: Mapping[str, NDArray[Any]]) -> None:
        """Begin with the models and tables of other weights."""
        names = [k for k in prior if k.startswith("residual.")]
        floats = floats_of({k.removeprefix("residual.arms."): prior[k] for k in names})
        self._modules.load_state_dict(floats)
        for name in ("motion_frequencies", "activity_frequencies"):
            self._tensors[name] = prior[name]

    def go(self) -> Path:
        for round_ in range(self._recipe.rounds):
            seen = _Seen()
            for clip, quality in self._clips(round_):
                encoder = GroupEncoder(
                    Renderer(self._network.synthesis, self._tensors),
                    self._tensors, arm_integers(self._arms),
                    self._key, clip, quality,
                )  # fmt: skip
                while not encoder.done:
                    encoder.step()
                    frame = encoder.frames[-1]
                    if isinstance(frame, Predicted):
                        seen.add(frame, int(self._tensors["residual_rates"][frame.quality]))
            bits = self._learn(seen)
            self._run.log(round=round_, frames=len(seen.motions), bits=bits)
            self._tensors |= seen.tables()
        return self._export()

    def _key(self, pixels: Pixels, quality: int) -> Key:
        """Return a key frame as the analysis gives it."""
        with torch.no_grad():
            scales = self._network.analyse(padded_input(pixels), rate_of(weight_of(quality)))
        return Key(quality, [y[0].round().to(torch.int32).numpy() for y in scales])

    def _clips(self, seed: int) -> Iterator[tuple[NDArray[np.uint8], int]]:
        """Yield clips and their qualities: half of them real, half made of pictures."""
        rng = np.random.default_rng((self._run.options.seed, seed))
        files = sorted(p for p in self._data.rglob("*") if p.suffix in Video.suffixes)
        if not files:
            raise InvalidInput(f"{str(self._data)!r} has no clips")
        pictures: list[Picture] = []
        if self._recipe.pictures:
            pictures = read_pictures(Path(self._recipe.pictures), GROUP_WEIGHTS, _SIDE + 64)
        for n in range(self._recipe.clips):
            quality = int(rng.choice(QUALITIES))
            if n % 2 == 0 or not pictures:
                yield _excerpt(files[rng.integers(len(files))], rng), quality
            else:
                chance = np.array([picture.weight for picture in pictures])
                chosen = rng.choice(len(pictures), p=chance / chance.sum())
                yield _travelled(pictures[chosen].pixels, rng), quality

    def _learn(self, seen: _Seen) -> float:
        """Fit the models to what was seen; return the mean bits of a latent at the end."""
        data = [torch.from_numpy(seen.samples(k)) for k in range(len(PLANES))]
        for k, plane in enumerate(PLANES):
            if self._fresh and len(data[k]):
                sizes = data[k][:, INPUTS].abs().mean().clamp(min=LEAST)
                with torch.no_grad():
                    bias = self._arms[plane.scale].last_bias
                    bias[plane.channel, 1] = torch.log(sizes / LEAST) / math.log(RATIO)
        self._fresh = False
        known = [k for k in range(len(PLANES)) if len(data[k])]
        groups = [
            {"params": [p], "lr": self._recipe.rate * (10 if n.endswith("last_bias") else 1)}
            for n, p in self._modules.named_parameters()
        ]
        optimizer = torch.optim.Adam(groups, betas=(0.9, 0.98))
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, self._recipe.steps)
        mean = 0.0
        for _ in range(self._recipe.steps):
            bits = torch.stack([self._bits(k, data[k]) for k in known])
            loss = bits.mean()
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            schedule.step()
            mean += 0.02 * (loss.item() - mean)
        self._run.step += self._recipe.steps
        return mean

    def _bits(self, which: int, data: Tensor) -> Tensor:
        """Return the mean bits of a plane's latents in a batch."""
        plane = PLANES[which]
        batch = data[torch.randint(len(data), (self._recipe.batch,))]
        x, y, rate = batch[:, :INPUTS], batch[:, INPUTS], batch[:, INPUTS + 1 :]
        arms = self._arms[plane.scale]
        own = {n: p[plane.channel] for n, p in arms.named_parameters()}
        hidden = F.relu(x @ own["first"].T + own["first_bias"] + rate * own["first_rate"])
        hidden = F.relu(F.linear(hidden, own["second"], own["second_bias"]))
        out = F.linear(torch.cat([hidden, x], 1), own["last"], own["last_bias"])
        return laplace_bits(y, out[:, 0], out[:, 1]).mean()

    def _export(self) -> Path:
        """Write configuration, weights, and the exact prior as a weights folder."""
        folder = self._run.folder / "export"
        folder.mkdir(parents=True, exist_ok=True)
        arms = arm_integers(self._arms)
        write_prior(folder, self._tensors | {f"residual.{k}": v for k, v in arms.items()})
        write_model(folder, self._shipped.tensors)
        config = {**self._shipped.config, "codec": "video/inr", "version": 1}
        (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")
        return folder


class _Seen:
    """What was seen of predicted frames."""

    def __init__(self) -> None:
        self.motions: list[Any] = []
        self._counts = np.zeros((FRACTIONS, 2), np.int64)
        self._samples: list[list[NDArray[np.float32]]] = [[] for _ in PLANES]
        self._rng = np.random.default_rng(0)

    def add(self, frame: Predicted, rate: int) -> None:
        """Take a frame whose latents were coded at a rate."""
        self.motions.append(frame.motion)
        count_activity(frame.active, self._counts)
        for which, plane in enumerate(PLANES):
            side = side_of(plane)
            found = np.empty((int(frame.active.sum()) * side * side, INPUTS + 1), np.int32)
            around = around_of(frame.planes, which)
            contexts_of(frame.planes[which], around, frame.active, side, room_for(), found)
            if len(found) > _MOST:
                found = found[self._rng.choice(len(found), _MOST, replace=False)]
            rows = found.astype(np.float32)
            rows[:, :INPUTS] /= 1 << CONTEXT_BITS
            rates = np.full((len(rows), 1), rate / (1 << RATE_BITS), np.float32)
            self._samples[which].append(np.concatenate([rows, rates], 1))

    def samples(self, which: int) -> NDArray[np.float32]:
        """Return contexts, value and rate of a plane's latents, `(n, INPUTS + 2)`."""
        empty = np.empty((0, INPUTS + 2), np.float32)
        return np.concatenate([empty, *self._samples[which]])

    def tables(self) -> dict[str, NDArray[np.int32]]:
        """Return the tables of motion and of activity."""
        counts = np.zeros((FRACTIONS, SYMBOLS), np.int64)
        counts[:, SYMBOLS // 2 : SYMBOLS // 2 + 2] = self._counts << 12
        rows = [quantize_counts(row, TOTAL) for row in counts]
        activity = np.stack(rows)[None].astype(np.int32)
        return {"activity_frequencies": activity, **fit_motion(self.motions)}


def _excerpt(path: Path, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Return some frames of a file, cut out where they are large."""
    with Video.stream(path) as reader:
        frames = reader.read(int(rng.integers(_LENGTH, 40)))[-_LENGTH:]
    height, width = frames.shape[1:3]
    top, left = (int(rng.integers(max(1, side - _SIDE))) // 2 * 2 for side in (height, width))
    return np.ascontiguousarray(frames[:, top : top + _SIDE, left : left + _SIDE])


def _travelled(picture: Tensor, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Return frames of a camera that moves over a picture, uint8 `(3, H, W)`."""
    speed, turn, zoom = rng.normal(0, 2.5, 2), rng.normal(0, 0.004), rng.normal(0, 0.006)
    shake, noise = rng.exponential(0.4), rng.exponential(1.0)
    height, width = picture.shape[1:]
    middle = np.array([rng.uniform(0.3, 0.7) * width, rng.uniform(0.3, 0.7) * height])
    y, x = np.mgrid[:_SIDE, :_SIDE] - _SIDE / 2
    frames = []
    for n in range(_LENGTH):
        a, z = turn * n, math.exp(zoom * n)
        at = middle + speed * n + rng.normal(0, shake, 2)
        columns = z * (math.cos(a) * x - math.sin(a) * y) + at[0]
        rows = z * (math.sin(a) * x + math.cos(a) * y) + at[1]
        grid = np.stack([2 * columns / (width - 1) - 1, 2 * rows / (height - 1) - 1], -1)
        drawn = F.grid_sample(
            picture[None].float(), torch.from_numpy(grid[None]).float(),
            mode="bicubic", padding_mode="reflection", align_corners=True,
        )[0]  # fmt: skip
        pixels = drawn.permute(1, 2, 0).numpy()
        frames.append((pixels + rng.normal(0, noise, pixels.shape)).clip(0, 255).round())
    return np.stack(frames).astype(np.uint8)
