"""The recipe of `text/bytes`: the byte model, an integer mixer trained on texts of all kinds."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray

from omnicodec.codecs import InvalidInput
from omnicodec.codecs.prior.mixer import INFORMATION_UNIT, ByteModel, text_schema
from omnicodec.models import weights
from omnicodec.service.train.files import read_files
from omnicodec.service.train.mixer import MixerSettings, fit_mixer
from omnicodec.service.train.mixer.items import Items, text_item
from omnicodec.service.train.run import Run

PIECE: Final = 1 << 13
"""Bytes of a training item, cut behind a line: texts of all kinds alternate in the table."""

_HELD_OUT_AT: Final = (0.2, 0.55, 0.85)
_HELD_OUT_SHARE: Final = 0.03
_SIZES: Final = (1 << 10, 1 << 11, 1 << 12, 1 << 13, 1 << 14)
_SHORTEST: Final = 200
_VALIDATION_PIECE: Final = 1 << 12
_VALIDATION_PIECES: Final = 40


@dataclass(frozen=True, kw_only=True)
class TextBytesRecipe:
    """Settings of a run.

    `held_out` is the most bytes of a group (a file, shard or folder) that maps and mixers
    learn on, `more` that of single groups by name; `counted` and `shipped` are the powers of
    two of buckets that are counted in and kept.
    """

    held_out: int = 300_000
    more: Mapping[str, int] = field(default_factory=dict)
    counted: int = 20
    shipped: int = 20
    version: int = 2

    @classmethod
    def from_settings(cls, settings: Mapping[str, Any]) -> Self:
        known = {f.name for f in fields(cls)}
        if unknown := sorted(set(settings) - known):
            raise InvalidInput(f"the recipe of text/bytes has no setting {unknown[0]!r}")
        recipe = cls(**settings)
        for name, least, most in (("counted", 8, 26), ("shipped", 8, 26)):
            value = getattr(recipe, name)
            if type(value) is not int or not least <= value <= most:
                raise InvalidInput(f"{name} must be a number from {least} to {most}, not {value!r}")
        if recipe.counted < recipe.shipped:
            raise InvalidInput("counted must not be less than shipped")
        return recipe

    def train(self, data: Path, run: Run) -> Path:
        """Train on every file below `data`; return the folder of the model."""
        seen, held_out = self._split(data, run.options.seed)
        run.log(
            seen_bytes=float(sum(s.size for s, _ in seen)),
            held_out_bytes=float(sum(s.size for s, _ in held_out)),
        )
        schema = text_schema()

        def log(stage: int, **values: float) -> None:
            run.step = stage
            run.log(**values)

        settings = MixerSettings(counted=self.counted, shipped=self.shipped)
        tensors = fit_mixer(schema, seen, held_out, settings, log)
        folder = run.folder / "export"
        folder.mkdir(parents=True, exist_ok=True)
        config = {"version": self.version, "prior": schema.to_json()}
        path = folder / "config.json"
        path.write_text(json.dumps(config, indent=1) + "\n")
        (folder / "prior.safetensors.zst").write_bytes(weights.pack(tensors))
        if run.options.validation:
            config["bytes_per_window"] = validate(folder, run.options.validation, run)
            path.write_text(json.dumps(config, indent=1) + "\n")
        return folder

    def _split(self, data: Path, seed: int) -> tuple[Items, Items]:
        """Return training items and held-out ones: whole stretches that no table has seen.

        The stretches are long, so that they are other books, languages and programs; items of
        the two kinds would else be parts of one, and the mixers would trust the table too much.
        """
        groups: dict[str, list[bytes]] = defaultdict(list)
        for group, content in read_files(data):
            if len(content) >= _SHORTEST:
                groups[group].append(content)
        if not groups:
            raise InvalidInput(f"no text in {str(data)!r}")
        rng = np.random.default_rng(seed)
        seen: list[bytes] = []
        held_out: list[bytes] = []
        for group, contents in sorted(groups.items()):
            pieces = [piece for content in contents for piece in _cut(content, PIECE)]
            starts = [int(share * len(pieces)) for share in _HELD_OUT_AT]
            stretch = max(1, int(_HELD_OUT_SHARE * len(pieces)))
            inside = {i for start in starts for i in range(start, start + stretch)}
            seen += [piece for i, piece in enumerate(pieces) if i not in inside]
            texts = [b"".join(pieces[start : start + stretch]) for start in starts]
            documents = [d for text in texts for d in _documents(text, rng)]
            room = self.more.get(group, self.held_out)
            for k in rng.permutation(len(documents)):
                if room > 0:
                    held_out.append(documents[k])
                    room -= len(documents[k])
        return _shuffled(seen, rng), _shuffled(held_out, rng)


def _cut(content: bytes, size: int) -> list[bytes]:
    pieces, start = [], 0
    while start < len(content):
        stop = min(len(content), start + size)
        line = content.find(b"\n", stop, stop + size // 4)
        stop = line + 1 if line >= 0 else stop
        pieces.append(content[start:stop])
        start = stop
    return pieces


def _documents(text: bytes, rng: np.random.Generator) -> list[bytes]:
    """Cut a stretch into documents of the sizes that the model will meet."""
    documents, start = [], 0
    while start < len(text):
        stop = start + int(rng.choice(_SIZES))
        documents.append(text[start:stop])
        start = stop
    return [d for d in documents if len(d) >= _SHORTEST]


def _shuffled(texts: list[bytes], rng: np.random.Generator) -> Items:
    return [text_item(texts[k]) for k in rng.permutation(len(texts))]


def validate(folder: Path, data: Path, run: Run) -> float:
    """Log the bits per byte of pieces of 4 KB of each group, each by itself.

    Returns the bytes that a window of `text/info` covers.
    """
    model = ByteModel.from_shipped(weights.read_folder(folder))
    bits: dict[str, list[float]] = defaultdict(list)
    size = windows = 0
    for group, content in read_files(data):
        step = max(_VALIDATION_PIECE, len(content) // _VALIDATION_PIECES)
        for start in range(0, len(content), step):
            piece = content[start : start + _VALIDATION_PIECE]
            information: NDArray[np.int32] = model.surprisal(piece)
            bits[group].append(float(information.mean()) / INFORMATION_UNIT)
            size += len(piece)
            windows += model.to_windows(piece).size
    run.log(**{group: float(np.mean(values)) for group, values in bits.items()})
    return round(size / max(1, windows), 2)
