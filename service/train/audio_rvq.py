"""The recipe of `audio/rvq`: spectral losses, Muon and AdamW, codebooks by moving averages."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import torch
from safetensors.numpy import save_file
from torch import Tensor, nn

from omnicodec.codecs import InvalidInput
from omnicodec.models.audio.rvq import AudioRVQ, AudioRVQConfig
from omnicodec.service.train.audio_prior import (
    AudioPriorSettings,
    code_sounds,
    fit_audio_prior,
)
from omnicodec.service.train.balancer import Balancer
from omnicodec.service.train.codebooks import CodebookTrainer, k_means
from omnicodec.service.train.critics import Critics
from omnicodec.service.train.discriminators import Discriminators, judge_sounds
from omnicodec.service.train.files import write_prior
from omnicodec.service.train.learner import Learner
from omnicodec.service.train.loudness_loss import LoudnessLoss
from omnicodec.service.train.run import Run
from omnicodec.service.train.settings import split_settings
from omnicodec.service.train.sounds import Augmentation, Sound, crops, read_sounds
from omnicodec.service.train.spectral_loss import SpectralLoss
from omnicodec.service.train.training import Training

# The shards of ../shared/data, whose voices are few (160 clips of one task, one German reader),
# and whose sounds are mostly noises; other data sets have other names.
GROUP_WEIGHTS = {
    "librispeech_cc-by-4.0": 2.5,
    "kerstin_de_cc0": 1.0,
    "picovoice_apache-2.0": 1.0,
    "ljspeech_pd": 4.0,
}

WINDOWS = (256, 512, 1024, 2048)
BANDS = (24, 48, 80, 120)


@dataclass(frozen=True, kw_only=True)
class AudioRVQRecipe:
    """Settings of a run; the network's own are in `network`.

    Codebooks begin as k-means over `fitting` batches. Each clip is coded with one of `rates`
    codebooks, drawn with the chances `rate_chances`. Every `held_out`-th sound is for
    validation only. `mel_weight`, `compressed_weight`, `phase_weight` and `commitment` weigh
    the parts of the spectral loss. The others are weighed by their gradients: one of weight
    1 moves samples as much as the spectral loss does. Those of the discriminators begin after
    the part `adversarial` of the run; they judge `judged_hops` of each clip.
    """

    batch: int = 12
    crop_hops: int = 60
    matrix_rate: float = 3e-3
    other_rate: float = 1e-3
    weight_decay: float = 0.01
    newton_schulz_steps: int = 3
    warmup: int = 100
    average: float = 0.998
    rates: tuple[int, ...] = (2, 4, 8, 12, 16)
    rate_chances: tuple[float, ...] = (0.1, 0.1, 0.2, 0.45, 0.15)
    fitting: int = 60
    decay: float = 0.99
    least: float = 0.05
    held_out: int = 40
    mel_weight: float = 0.6
    compressed_weight: float = 15.0
    phase_weight: float = 5.0
    commitment: float = 1.0
    loudness_weight: float = 3.0
    adversarial: float = 0.8
    adversarial_weight: float = 0.3
    feature_weight: float = 0.6
    discriminator_rate: float = 3e-4
    judged_hops: int = 24
    network: AudioRVQConfig = field(default_factory=AudioRVQConfig)

    @classmethod
    def from_settings(cls, settings: Mapping[str, Any]) -> Self:
        """Return the recipe with `settings`, whose network keys begin with "network."."""
        plain, network = split_settings("audio/rvq", settings, cls(), AudioRVQConfig())
        lists: dict[str, Any] = {
            k: tuple(v) if isinstance(v, list) else v for k, v in plain.items()
        }
        recipe = cls(**lists, network=AudioRVQConfig.from_dict(network))
        if len(recipe.rates) != len(recipe.rate_chances):
            raise InvalidInput("rates and rate_chances must be of one length")
        if not recipe.rates or max(recipe.rates) > recipe.network.books:
            raise InvalidInput(f"rates must be within the {recipe.network.books} codebooks")
        return recipe

    def train(self, data: Path, run: Run) -> Path:
        """Train on the sounds below `data`; return the folder of the exported weights."""
        size = self.crop_hops * self.network.hop
        sounds = read_sounds(data, GROUP_WEIGHTS, self.network.rate, size // 4)
        return _Training(self, sounds, run).go()


class _Training(Training):
    """The moving parts of one sitting."""

    log_every: ClassVar[int] = 50

    def __init__(self, recipe: AudioRVQRecipe, sounds: list[Sound], run: Run) -> None:
        super().__init__(run)
        self.recipe = recipe
        torch.manual_seed(run.options.seed)
        self.held_out = sounds[:: recipe.held_out]
        self.sounds = [s for i, s in enumerate(sounds) if i % recipe.held_out] or sounds
        minutes = sum(sound.samples.size for sound in sounds) / recipe.network.rate / 60
        run.report(f"{len(sounds)} sounds, {minutes:.0f} minutes, device {self.device}")
        network = AudioRVQ(recipe.network).to(self.device)
        self.codebooks = CodebookTrainer(network.quantizer.shapes, recipe.decay, recipe.least)
        self.codebooks.to(self.device)
        self.spectral = SpectralLoss(recipe.network.rate, WINDOWS, BANDS).to(self.device)
        self.loudness = LoudnessLoss(recipe.network.rate).to(self.device)
        self.balancer = Balancer(
            {
                "spectral": 1.0,
                "loudness": recipe.loudness_weight,
                "adversarial": recipe.adversarial_weight,
                "feature": recipe.feature_weight,
            }
        ).to(self.device)
        self.critics = Critics(
            Discriminators().to(self.device), recipe.discriminator_rate, (0.8, 0.99)
        )
        self.learner = Learner(
            network,
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
            slower=_slower,
            beside={
                "codebooks": self.codebooks,
                "balancer": self.balancer,
                "discriminators": self.critics.network,
            },
            beside_optimizers={"discriminators_optimizer": self.critics.optimizer},
        )
        self.network, self.average = self.learner.network, self.learner.average
        self.config = {**asdict(recipe), "network": recipe.network.to_dict()}
        self.learner.resume(self.config)

    def go(self) -> Path:
        if not self.codebooks.started:
            self._fit_codebooks()
        return super().go()

    def _step(self) -> tuple[Tensor, dict[str, Tensor]]:
        return self._loss(self._batch(self.run.step))

    def _batch(self, step: int) -> Tensor:
        recipe = self.recipe
        size = recipe.crop_hops * recipe.network.hop
        seed = hash((self.run.options.seed, step))
        return crops(self.sounds, size, recipe.batch, seed, Augmentation()).to(self.device)

    def _loss(self, samples: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the loss of a batch, and its parts for the log."""
        recipe = self.recipe
        with torch.autocast(self.device.type, torch.bfloat16):
            first, shapes = self.network.analyse(samples)
        shapes = shapes.float()
        seed = self.run.step if self.run.step % 10 == 0 else None
        coded = self.codebooks.quantize(shapes, self._used(len(samples)) - 1, seed)
        lost = (shapes - coded).square().mean()
        through = shapes + (coded - shapes).detach()
        with torch.autocast(self.device.type, torch.bfloat16):
            rendered = self.network.render(self.network.quantizer.levels[first], through)
        leaf = rendered.detach().requires_grad_()
        # Every other window, in turn: half of the work, and the same gradient in the mean.
        windows = WINDOWS[self.run.step % 2 :: 2]
        distance = self.spectral(leaf, samples, windows)
        losses = {
            "spectral": recipe.mel_weight * distance.mel
            + recipe.compressed_weight * distance.compressed
            + recipe.phase_weight * distance.phase,
            "loudness": self.loudness(leaf, samples),
        }
        parts = {**losses, "mel": distance.mel, "phase": distance.phase, "lost": lost}
        if self.run.progress >= recipe.adversarial:
            size = recipe.judged_hops * recipe.network.hop
            judged = judge_sounds(self.critics, leaf, samples, size, self.run.step)
            losses |= judged.losses
            parts |= {**judged.losses, "discriminator": judged.own}
        gradient = self.balancer.gradient(losses, leaf)
        loss = (rendered * gradient).sum() + recipe.commitment * lost
        return loss, {k: v.detach() for k, v in parts.items()}

    def _used(self, clips: int) -> Tensor:
        """Return with how many codebooks each clip of this step is coded."""
        rng = np.random.default_rng((self.run.options.seed, self.run.step))
        chances = np.array(self.recipe.rate_chances)
        drawn = rng.choice(self.recipe.rates, clips, p=chances / chances.sum())
        return torch.from_numpy(drawn).to(self.device)

    @torch.no_grad()
    def _fit_codebooks(self) -> None:
        """Set the codebooks by k-means over what the untrained network makes of some batches."""
        recipe, seed, network = self.recipe, self.run.options.seed, self.network
        # Seeds that no step has.
        batches = [self._batch(-ahead) for ahead in range(1, recipe.fitting + 1)]
        levels = torch.cat([network.levels(each).flatten(0, 1) for each in batches])
        entries = k_means(levels, recipe.network.entries, seed)
        # The quietest first, which is what padding and silence are.
        network.quantizer.levels.copy_(entries[entries.mean(1).argsort()])
        shapes = [network.analyse(each)[1].flatten(0, 1) for each in batches]
        self.codebooks.start(torch.cat(shapes), seed)
        self.average.quantizer.load_state_dict(self.network.quantizer.state_dict())

    @torch.inference_mode()
    def _validate(self) -> None:
        mel, loudness = [], []
        for samples in self._whole(self.held_out):
            drawn = self.average.decode(self.average.encode(samples, self.recipe.rates[-2]))
            mel.append(self.spectral(drawn, samples).mel.item())
            loudness.append(self.loudness(drawn, samples).item())
        self.run.log(
            validation_mel=float(np.mean(mel)), validation_loudness=float(np.mean(loudness))
        )

    @property
    def _rate(self) -> int:
        return self.recipe.network.rate

    def _whole(self, sounds: list[Sound]) -> Iterator[Tensor]:
        """Yield sounds as batches of one, cut to whole hops and to 20 seconds."""
        hop = self.recipe.network.hop
        for sound in sounds:
            length = min(sound.samples.size, 20 * self._rate) // hop * hop
            if length:
                piece = sound.samples[None, :length].astype(np.float32) / 32768
                yield torch.from_numpy(piece).to(self.device)

    def export(self) -> Path:
        """Write configuration, half-precision weights and the prior as a weights folder."""
        folder = self.run.folder / "export"
        folder.mkdir(parents=True, exist_ok=True)
        save_file(self.learner.half(), folder / "model.safetensors")
        config = {"version": 2, **self.recipe.network.to_dict(), "rates": list(self.recipe.rates)}
        (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")
        codes = code_sounds(self.average, (sound.samples for sound in self.sounds))
        entries = self.recipe.network.entries
        write_prior(folder, fit_audio_prior(codes, entries, AudioPriorSettings(), self.run.log))
        return folder


def _slower(parameter: nn.Parameter) -> float:
    """Return the factor on the rate: a matrix with many inputs learns slower in proportion.

    As in muP (Yang et al. 2022, arXiv:2203.03466): a step on 2,000 inputs at once would
    otherwise undo the phase that the network begins with.
    """
    return min(1.0, 128 / parameter.shape[1]) if parameter.ndim == 2 else 1.0
