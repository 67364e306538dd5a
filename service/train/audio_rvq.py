"""The recipe of `audio/rvq`: spectral losses, Muon and AdamW, codebooks by moving averages."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from safetensors.numpy import save_file
from torch import Tensor, nn

from omnicodec.codecs import InvalidInput
from omnicodec.codecs.prior import StaticPrior
from omnicodec.codecs.registry import resolve_device
from omnicodec.models.audio.rvq import AudioRVQ, AudioRVQConfig
from omnicodec.service.train.codebooks import CodebookTrainer
from omnicodec.service.train.learner import Learner
from omnicodec.service.train.run import Run
from omnicodec.service.train.settings import split_settings
from omnicodec.service.train.sounds import Augmentation, Sound, crops, read_sounds
from omnicodec.service.train.spectral_loss import SpectralLoss

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

    Until `unquantized` of the run is over, vectors pass unquantized, so that the codebooks
    start from vectors that mean something. Each clip is then coded with one of `rates`
    codebooks, drawn with the chances `rate_chances`. `fitting` and `refitting` are the batches
    over which codebooks are set by k-means, then and at the end. `mel_weight`, `compressed_weight`,
    `phase_weight` and `commitment` weigh the parts of the loss.
    """

    batch: int = 12
    crop_hops: int = 40
    matrix_rate: float = 3e-3
    other_rate: float = 1e-3
    weight_decay: float = 0.01
    newton_schulz_steps: int = 3
    warmup: int = 100
    average: float = 0.998
    unquantized: float = 0.1
    rates: tuple[int, ...] = (2, 4, 8, 12, 16)
    rate_chances: tuple[float, ...] = (0.1, 0.1, 0.2, 0.45, 0.15)
    fitting: int = 40
    refitting: int = 300
    decay: float = 0.99
    least: float = 0.05
    mel_weight: float = 0.6
    compressed_weight: float = 15.0
    phase_weight: float = 5.0
    commitment: float = 0.1
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
        return Training(self, sounds, run).go()


class Training:
    """The moving parts of one sitting."""

    def __init__(self, recipe: AudioRVQRecipe, sounds: list[Sound], run: Run) -> None:
        self.recipe, self.run, self.sounds = recipe, run, sounds
        self.device = torch.device(resolve_device(run.options.device))
        torch.manual_seed(run.options.seed)
        minutes = sum(sound.samples.size for sound in sounds) / recipe.network.rate / 60
        run.report(f"{len(sounds)} sounds, {minutes:.0f} minutes, device {self.device}")
        network = AudioRVQ(recipe.network).to(self.device)
        self.codebooks = CodebookTrainer(network.quantizer, recipe.decay, recipe.least)
        self.codebooks.to(self.device)
        self.loss = SpectralLoss(recipe.network.rate, WINDOWS, BANDS).to(self.device)
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
            beside={"codebooks": self.codebooks},
        )
        self.network, self.average = self.learner.network, self.learner.average
        self.config = {**asdict(recipe), "network": recipe.network.to_dict()}
        self.learner.resume(self.config)

    def go(self) -> Path:
        run, recipe = self.run, self.recipe
        totals: dict[str, float] = {}
        while run.progress < 1:
            if run.progress >= recipe.unquantized and not self.codebooks.started:
                self._fit_codebooks(self.network, recipe.fitting)
            loss, parts = self._loss(self._batch(run.step))
            factor = self.learner.step(loss)
            for name, value in parts.items():
                totals[name] = totals.get(name, 0.0) + value.item() / 50
            if run.step % 50 == 0:
                run.log(**totals, rate=factor)
                totals = {}
            if run.step % run.options.validate_every == 0:
                self._validate()
            if run.checkpoint_due():
                self.learner.save(self.config)
        self._validate()
        self.learner.save(self.config)
        # Moving averages remember some thousand vectors; entries that are means of many more
        # are closer to all.
        self._fit_codebooks(self.average, recipe.refitting)
        self._validate()
        return self.export()

    def _batch(self, step: int) -> Tensor:
        recipe = self.recipe
        size = recipe.crop_hops * recipe.network.hop
        seed = hash((self.run.options.seed, step))
        return crops(self.sounds, size, recipe.batch, seed, Augmentation()).to(self.device)

    def _loss(self, samples: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the loss of a batch, and its parts for the log."""
        recipe = self.recipe
        with torch.autocast(self.device.type, torch.bfloat16):
            z = self.network.analyse(samples).float()
        lost = torch.zeros((), device=self.device)
        through = z
        if self.codebooks.started:
            seed = self.run.step if self.run.step % 10 == 0 else None
            coded = self.codebooks.quantize(z, self._used(len(samples)), seed)
            through = z + (coded - z).detach()
            spread = z.detach().var(0).mean() + 1e-6
            lost = (z - coded).square().mean() / spread
        with torch.autocast(self.device.type, torch.bfloat16):
            rendered = self.network.render(through)
        # Every other window, in turn: half of the work, and the same gradient in the mean.
        windows = WINDOWS[self.run.step % 2 :: 2]
        distance = self.loss(rendered.float(), samples, windows)
        loss = (
            recipe.mel_weight * distance.mel
            + recipe.compressed_weight * distance.compressed
            + recipe.phase_weight * distance.phase
            + recipe.commitment * lost
        )
        parts = {
            "mel": distance.mel,
            "compressed": distance.compressed,
            "phase": distance.phase,
            "lost": lost,
        }
        return loss, {k: v.detach() for k, v in parts.items()}

    def _used(self, clips: int) -> Tensor:
        """Return with how many codebooks each clip of this step is coded."""
        rng = np.random.default_rng((self.run.options.seed, self.run.step))
        chances = np.array(self.recipe.rate_chances)
        drawn = rng.choice(self.recipe.rates, clips, p=chances / chances.sum())
        return torch.from_numpy(drawn).to(self.device)

    @torch.no_grad()
    def _fit_codebooks(self, network: AudioRVQ, batches: int) -> None:
        """Set the codebooks by k-means over what a network makes of so many batches."""
        vectors = []
        for ahead in range(1, batches + 1):  # of seeds that no step has
            with torch.autocast(self.device.type, torch.bfloat16):
                z = network.analyse(self._batch(-ahead))
            vectors.append(z.float().flatten(0, 1))
        self.codebooks.start(torch.cat(vectors), self.run.options.seed)
        self.average.quantizer.codebooks.copy_(self.network.quantizer.codebooks)

    @torch.inference_mode()
    def _validate(self) -> None:
        if self.run.options.validation is None or not self.codebooks.started:
            return
        scores = []
        for samples in self._whole(read_sounds(self.run.options.validation, {}, self._rate, 1)):
            drawn = self.average.decode(self.average.encode(samples, self.recipe.rates[-2]))
            scores.append(self.loss(drawn, samples).mel.item())
        self.run.log(validation_mel=float(np.mean(scores)))

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
        config = {"version": 1, **self.recipe.network.to_dict(), "rates": list(self.recipe.rates)}
        (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")
        save_file(self._prior().tables(), folder / "prior.safetensors")
        return folder

    @torch.inference_mode()
    def _prior(self) -> StaticPrior:
        network = self.recipe.network
        counts = np.zeros((network.books, network.entries), np.int64)
        for samples in self._whole(self.sounds):
            ids = self.average.encode(samples, network.books)[:, 0].cpu().numpy()
            for row, count in zip(ids, counts, strict=True):
                count += np.bincount(row, minlength=network.entries)
        return StaticPrior.train([[count] for count in counts])


def _slower(parameter: nn.Parameter) -> float:
    """Return the factor on the rate: a matrix with many inputs learns slower in proportion.

    As in muP (Yang et al. 2022, arXiv:2203.03466): a step on 2,000 inputs at once would
    otherwise undo the phase that the network begins with.
    """
    return min(1.0, 128 / parameter.shape[1]) if parameter.ndim == 2 else 1.0
