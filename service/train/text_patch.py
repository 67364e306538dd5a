"""The recipe of `text/patch`: thresholds from withheld text, then the network, then its prior."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final, Self

import numpy as np
import torch
from safetensors.numpy import save_file as save_arrays
from torch.nn import functional as F

from omnicodec.codecs.prior import StaticPrior
from omnicodec.codecs.prior.mixer import byte_model
from omnicodec.codecs.registry import resolve_device
from omnicodec.codecs.text._patch_tokens import PatchTokens
from omnicodec.codecs.text._segmentation import METHODS
from omnicodec.models.text.coder import PatchCoder
from omnicodec.models.text.patch import Batch, PatchConfig, PatchNet
from omnicodec.service.train.learner import Learner
from omnicodec.service.train.patches import (
    PIECE,
    Document,
    Patches,
    calibrated,
    cut,
    measure,
    read_pieces,
)
from omnicodec.service.train.run import Run
from omnicodec.service.train.settings import split_settings
from omnicodec.service.train.variety import made_up_values, varied

GROUP_WEIGHTS: Final = {"english_books_pd": 2.0, "varied": 8.0}
"""The shards of ../shared/data are named so; in other data sets every text counts 1."""

VARIED: Final = 4
"""One in so many English documents is there as a variant, too."""

SHARES: Final = {m: 0.75 if m == METHODS[0] else 0.25 / (len(METHODS) - 1) for m in METHODS}
"""The network learns all methods, the default one best."""

SHORT: Final = 0.35
"""How often patches of up to half the length are drawn, relative to their number."""

VALIDATION_PATCHES: Final = 16_384
PRIOR_BYTES: Final = 2 << 20


@dataclass(frozen=True, kw_only=True)
class TextPatchRecipe:
    """Settings of a run; the network's own are in `network`.

    `average` is the length of patches in bytes to which thresholds are calibrated, on
    withheld documents (or those of the run's `validation`) of the groups whose names contain
    `calibrate` (all if none does).
    """

    average: float = 4.6
    stride: int = 4
    calibrate: str = "english"
    batch: int = 1024
    matrix_rate: float = 1e-2
    other_rate: float = 4e-3
    weight_decay: float = 0.01
    newton_schulz_steps: int = 4
    warmup: int = 50
    ema: float = 0.998
    network: PatchConfig = field(default_factory=PatchConfig)

    @classmethod
    def from_settings(cls, settings: Mapping[str, Any]) -> Self:
        """Return the recipe with `settings`, whose network keys begin with "network."."""
        plain, network = split_settings("text/patch", settings, cls(), PatchConfig(), positive=True)
        return cls(**plain, network=PatchConfig.from_dict(network))

    def train(self, data: Path, run: Run) -> Path:
        """Train on the texts below `data`; return the folder of the exported weights."""
        return _Training(self, data, run).go()


class _Training:
    """The moving parts of one sitting."""

    def __init__(self, recipe: TextPatchRecipe, data: Path, run: Run) -> None:
        self.recipe, self.run = recipe, run
        self.device = torch.device(resolve_device(run.options.device))
        torch.manual_seed(run.options.seed)
        self.byte_model = byte_model()
        self.pieces, withheld = read_pieces(data)
        if run.options.validation is not None:
            withheld = [piece for part in read_pieces(run.options.validation) for piece in part]
        named = [piece for piece in withheld if recipe.calibrate in piece.group] or withheld
        held_out = measure(named, self.byte_model)
        self.segmentation = calibrated(
            held_out, round(1000 * recipe.average), recipe.stride, recipe.network.longest
        )
        self.validation = Patches(
            held_out, self.segmentation, recipe.network, {METHODS[0]: 1.0}, {}
        ).draw(VALIDATION_PATCHES, (0,))
        run.report(f"{self.segmentation}, device {self.device}")
        network = PatchNet(recipe.network).to(self.device)
        self.learner = Learner(
            network,
            # Matrices between hidden layers are Muon's; embeddings, codes and logits are not.
            [
                parameter
                for name, parameter in network.named_parameters()
                if name.endswith(".weight") and not name.startswith(("encode_out", "decode_out"))
            ],
            run,
            rates=(recipe.matrix_rate, recipe.other_rate),
            decays=(recipe.weight_decay, 0.0),
            warmup=recipe.warmup,
            average=recipe.ema,
            clip=100.0,
            newton_schulz_steps=recipe.newton_schulz_steps,
        )
        self.network, self.average = self.learner.network, self.learner.average.eval()
        self.config = {**asdict(recipe), "network": recipe.network.to_dict()}
        self.learner.resume(self.config)

    def go(self) -> Path:
        run = self.run
        if run.progress < 1:
            self._run()
        self._validate()
        self.learner.save(self.config)
        return self.export()

    def _run(self) -> None:
        run, recipe = self.run, self.recipe
        cache = run.folder / f"byte_model-{self.byte_model.fingerprint}.safetensors"
        documents = [*measure(self.pieces, self.byte_model, cache), *self._variants()]
        patches = Patches(
            documents, self.segmentation, recipe.network, SHARES, GROUP_WEIGHTS, SHORT
        )
        run.report(f"{patches.count} patches")
        total, seen = 0.0, 0
        while run.progress < 1:
            # Seeded by step: a resumed run sees what an undisturbed one would have seen.
            drawn = patches.draw(recipe.batch, (run.options.seed, run.step))
            batch = Batch(*(part.to(self.device) for part in drawn))
            with torch.autocast(self.device.type, torch.bfloat16):
                logits = self.network(batch)
            loss = F.cross_entropy(logits.float(), batch.target, reduction="sum") / recipe.batch
            factor = self.learner.step(loss)
            total, seen = total + loss.item(), seen + 1
            if run.step % 100 == 0:
                run.log(nats_per_patch=total / seen, rate=factor)
                total, seen = 0.0, 0
            if run.step % run.options.validate_every == 0:
                self._validate()
            if run.checkpoint_due():
                self.learner.save(self.config)

    def _variants(self) -> list[Document]:
        """Return variants of some of the texts that thresholds are calibrated for."""
        rng = np.random.default_rng((self.run.options.seed, 1))
        named = [p for p in self.pieces if self.recipe.calibrate in p.group]
        found = []
        for piece in named[::VARIED]:
            data = varied(piece.data, rng)
            values = made_up_values(data, self.segmentation.entropy, rng)
            found.append(Document("varied", data, values, values))
        return found

    @torch.inference_mode()
    def _validate(self) -> None:
        """Log the share of withheld patches that do not come back, before any search."""
        batch = Batch(*(part.to(self.device) for part in self.validation))
        logits = self.average(batch)
        wrong = torch.zeros(VALIDATION_PATCHES, device=self.device)
        wrong.index_add_(0, batch.owner, (logits.argmax(1) != batch.target).float())
        nats = F.cross_entropy(logits, batch.target, reduction="sum") / VALIDATION_PATCHES
        self.run.log(
            validation_wrong=float((wrong > 0).float().mean()), validation_nats=float(nats)
        )

    def export(self) -> Path:
        """Write configuration, integer weights and the prior as a weights folder."""
        folder = self.run.folder / "export"
        folder.mkdir(parents=True, exist_ok=True)
        arrays = {name: t.cpu().numpy() for name, t in self.average.tensors().items()}
        save_arrays(arrays, folder / "model.safetensors")
        config = {
            "version": 1,
            "network": self.recipe.network.to_dict(),
            "segmentation": asdict(self.segmentation),
            "byte_model": self.byte_model.fingerprint,
        }
        (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")
        save_arrays(self._prior(arrays).tables(), folder / "prior.safetensors")
        return folder

    def _prior(self, arrays: Mapping[str, np.ndarray[Any, Any]]) -> StaticPrior:
        """Count the codes of training documents, spread over all groups."""
        coder = PatchTokens(PatchCoder(self.recipe.network, arrays))
        counts = [np.zeros(size, np.int64) for size in coder.codebook_sizes]
        every = max(1, len(self.pieces) * PIECE // PRIOR_BYTES)
        for document in measure(self.pieces[::every], self.byte_model):
            lengths = cut(document, self.segmentation, METHODS[0])
            ids = coder.encode(document.data, lengths)
            for count, row in zip(counts, ids, strict=True):
                count += np.bincount(row, minlength=count.size)
        return StaticPrior.train([[count] for count in counts])
