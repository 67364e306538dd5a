"""The recipe of `text/bpe`: merges of the most frequent pairs, and a histogram of the tokens."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save_file

from omnicodec.codecs import InvalidInput, Text
from omnicodec.codecs.prior import StaticPrior
from omnicodec.codecs.text._tokenizer_json import BYTE_CHARACTERS, PATTERN, from_merges
from omnicodec.codecs.text._utf8 import pieces, segments
from omnicodec.codecs.text.bpe import MAX_VOCABULARY, METHODS, BPECodec
from omnicodec.service.train.files import read_files
from omnicodec.service.train.run import Run

# How often a text of a group is counted; others once. English is what most texts are in, while
# the groups of ../shared/data have more of what is rare: the same book in 42 languages of few
# readers, and the tests of the standard library.
GROUP_WEIGHTS: Final = {
    "english_books_pd": 3.0,
    "udhr_all_langs_train": 0.75,
    "python_stdlib": 0.4,
    "bible_lowresource_langs": 0.25,
}


@dataclass(frozen=True, kw_only=True)
class TextBPERecipe:
    """Settings of a run: ids in all, and the bytes of the longest token."""

    vocabulary: int = 32_768
    longest: int = 24

    @classmethod
    def from_settings(cls, settings: Mapping[str, Any]) -> Self:
        known = {f.name for f in fields(cls)}
        if unknown := sorted(set(settings) - known):
            raise InvalidInput(f"the recipe of text/bpe has no setting {unknown[0]!r}")
        recipe = cls(**settings)
        for name, least, most in (("vocabulary", 256, MAX_VOCABULARY), ("longest", 2, 1 << 10)):
            value = getattr(recipe, name)
            if type(value) is not int or not least <= value <= most:
                raise InvalidInput(f"{name} must be a number from {least} to {most}, not {value!r}")
        return recipe

    def train(self, data: Path, run: Run) -> Path:
        """Train on every file below `data`; return the folder of the vocabulary.

        One pass to count, one to make the prior; the result is a function of the data.
        Bytes that are not UTF-8 are left out.
        """
        folder = run.folder / "export"
        folder.mkdir(parents=True, exist_ok=True)
        merges = self._merges(data, run)
        size = len(from_merges(merges, PATTERN)["model"]["vocab"])
        save_file({"merges": merges}, folder / "model.safetensors")
        self._write(folder, StaticPrior.train([[np.zeros(size, np.int64)]]), 1.0)
        self._write(folder, *_histogram(BPECodec.from_folder(folder), data, run))
        if run.options.validation:
            _validate(BPECodec.from_folder(folder), run.options.validation, run)
        return folder

    def _merges(self, data: Path, run: Run) -> NDArray[Any]:
        """Return the merges as pairs of ids, by rank."""
        from tokenizers import Tokenizer
        from tokenizers.trainers import BpeTrainer

        # Training starts from a vocabulary of bytes, cut as it will be cut.
        empty = from_merges(np.zeros((0, 2), np.int32), PATTERN)
        tokenizer = Tokenizer.from_str(json.dumps(empty))
        trainer = BpeTrainer(
            vocab_size=self.vocabulary,
            initial_alphabet=sorted(BYTE_CHARACTERS),
            max_token_length=self.longest + 1,  # the library stops one short of it
            show_progress=False,
        )

        def texts() -> Iterator[str]:
            for text, times in _texts(data):
                run.step += 1
                for _ in range(times):
                    yield text

        tokenizer.train_from_iterator(texts(), trainer)
        if not run.step:
            raise InvalidInput(f"no text in {str(data)!r}")
        run.report(f"{run.step} pieces of text read and merged")
        trained = json.loads(tokenizer.to_str())["model"]["merges"]
        # The library numbers bytes as it likes; here they are their own ids.
        ids = {character: byte for byte, character in enumerate(BYTE_CHARACTERS)}
        pairs = []
        for left, right in trained:
            pairs.append((ids[left], ids[right]))
            ids.setdefault(left + right, len(ids))
        kind = np.uint16 if len(ids) <= 1 << 16 else np.uint32
        return np.array(pairs, kind).reshape(-1, 2)

    def _write(self, folder: Path, prior: StaticPrior, bytes_per_token: float) -> None:
        config = {"version": 1, "pattern": PATTERN, "bytes_per_token": bytes_per_token}
        (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")
        tables = {name: table.astype(np.uint32) for name, table in prior.tables().items()}
        save_file(tables, folder / "prior.safetensors")


def _texts(data: Path) -> Iterator[tuple[str, int]]:
    """Yield pieces of the valid text in every file, and how often each counts."""
    due: dict[str, float] = {}  # what is left of a group's weight, as files may be small
    for group, content in read_files(data):
        for segment in segments(content):
            if isinstance(segment, str):
                for piece in pieces(segment):
                    wanted = due.get(group, 0.0) + GROUP_WEIGHTS.get(group, 1.0)
                    times = int(wanted)
                    due[group] = wanted - times
                    if times:
                        yield piece, times


def _histogram(codec: BPECodec, data: Path, run: Run) -> tuple[StaticPrior, float]:
    """Return the prior of the tokens, and how many bytes one covers."""
    counts = np.zeros(codec.spec.codebook_sizes[0], np.int64)
    size = 0
    for text, times in _texts(data):
        (tokens,) = codec.encode([Text(text.encode())])
        counts += times * np.bincount(tokens.ids[0], minlength=counts.size)
        size += times * len(text.encode())
    prior = StaticPrior.train([[counts]])
    covered = size / int(counts.sum())
    run.log(
        bytes=float(size), bytes_per_token=covered, bits_per_byte=prior.bits_per_position / covered
    )
    return prior, round(covered, 2)


def _validate(codec: BPECodec, data: Path, run: Run) -> None:
    for method in METHODS:
        covered = [0, 0]
        for _, content in read_files(data):
            (tokens,) = codec.encode([Text(content)], method=method)
            covered[0] += len(content)
            covered[1] += len(tokens)
        run.log(**{f"validation_bytes_per_token_{method}": covered[0] / max(1, covered[1])})
