"""The recipe of `text/patch` on a toy network: thresholds, learning, resuming, exporting."""

from __future__ import annotations

import json
import random
from pathlib import Path

import numpy as np
import pytest

from omnicodec.codecs import InvalidInput
from omnicodec.codecs.prior import StaticPrior
from omnicodec.codecs.prior.mixer import byte_model
from omnicodec.codecs.text._patch_tokens import PatchTokens, codebook_sizes
from omnicodec.codecs.text._segmentation import METHODS, Segmentation
from omnicodec.models import weights
from omnicodec.models.text.coder import PatchCoder
from omnicodec.models.text.patch import PatchConfig
from omnicodec.service.train import train
from omnicodec.service.train.patches import PIECE, Patches, cut, measure, read_pieces
from omnicodec.service.train.run import RunOptions

TOY = {
    "batch": 32, "warmup": 2, "ema": 0.5, "average": 3.0,
    "network.codebooks": 2, "network.bits": 6, "network.longest": 6, "network.before": 4,
    "network.embedding": 8, "network.encoder": 32, "network.trunk": 24, "network.place": 16,
    "network.decoder": 32,
}  # fmt: skip
CONFIG = PatchConfig.from_dict(
    {k.removeprefix("network."): v for k, v in TOY.items() if k.startswith("network.")}
)


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("texts")
    rng = random.Random(0)
    words = ["the", "a", "one", "house", "tree", "door", "opened", "closed", "was", "were", "fell"]
    for i in range(3):
        (folder / f"{i}.txt").write_text(" ".join(rng.choices(words, k=900)))
    return folder


def go(texts: Path, out: Path, steps: int, **more: object) -> Path:
    options = RunOptions(steps=steps, device="cpu", settings={**TOY, **more}, validate_every=10)
    return train("text/patch", texts, out, options, report=lambda _: None)


def log(folder: Path, name: str) -> list[float]:
    rows = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    return [row[name] for row in rows if name in row]


def test_it_learns_and_exports(texts: Path, tmp_path: Path) -> None:
    shipped = weights.read_folder(go(texts, tmp_path, 40))
    nats = log(tmp_path, "validation_nats")
    assert nats[-1] < 0.7 * nats[0]

    cuts = Segmentation.from_config(shipped.config["segmentation"])
    documents = measure(read_pieces(texts)[1], byte_model())
    size = sum(len(d.data) for d in documents)
    for method in ("entropy", "monotonic", "surprisal"):
        average = size / sum(cut(d, cuts, method).size for d in documents)
        assert average == pytest.approx(3.0, rel=0.1), method
    assert shipped.config["byte_model"] == byte_model().fingerprint

    prior = StaticPrior.from_tables(shipped.prior)
    assert prior.codebook_sizes == codebook_sizes(CONFIG.codebooks, CONFIG.bits)
    assert shipped.nbytes < 200_000
    coder = PatchTokens(
        PatchCoder(PatchConfig.from_dict(shipped.config["network"]), shipped.tensors)
    )
    ids = coder.encode(documents[0].data, cut(documents[0], cuts, METHODS[0]))
    assert coder.decode(ids) == documents[0].data
    # What was exported is what was trained: as many patches are wrong as the log says.
    spelled = (ids[0] >= 1 << CONFIG.bits).mean()
    assert spelled <= log(tmp_path, "validation_wrong")[-1] + 0.1


def test_an_interrupted_run_goes_on_as_if_nothing_had_happened(
    texts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = weights.read_folder(go(texts, tmp_path / "whole", 12))

    from omnicodec.service.train import text_patch

    validate = text_patch._Training._validate

    def interrupt(self: text_patch._Training) -> None:
        if self.run.step == 10:
            self.learner.save(self.config)
            raise KeyboardInterrupt
        validate(self)

    monkeypatch.setattr(text_patch._Training, "_validate", interrupt)
    with pytest.raises(KeyboardInterrupt):
        go(texts, tmp_path / "parts", 12)
    monkeypatch.undo()
    parts = weights.read_folder(go(texts, tmp_path / "parts", 12))
    assert parts.fingerprint == whole.fingerprint
    assert all(np.array_equal(parts.prior[k], whole.prior[k]) for k in whole.prior)


def test_patches_are_those_of_the_text() -> None:
    data = b"one two three four five six"
    zeros = np.zeros(len(data), np.int32)
    from omnicodec.service.train.patches import Document

    document = Document("a", data, zeros, zeros)
    cuts = Segmentation(entropy=0, monotonic=0, surprisal=0, stride=5, longest=6, average=3000)
    patches = Patches([document, document], cuts, CONFIG, {"space": 1.0}, {})
    assert patches.count == 12
    drawn = patches.draw(200, (1,))
    words = {b"one ", b"two ", b"three ", b"four ", b"five ", b"six"}
    seen = {bytes(row[row < 256].tolist()) for row in drawn.patch.numpy()}
    assert seen == words
    for row in range(len(drawn.owner)):
        patch, place = drawn.patch[drawn.owner[row]], int(drawn.place[row])
        assert drawn.target[row] == patch[place]
        known = [int(b) for b in patch[:place].flip(0)] + drawn.before[drawn.owner[row]].tolist()
        assert drawn.window[row].tolist() == known[: CONFIG.before]
    again = patches.draw(200, (1,))
    assert all((a == b).all() for a, b in zip(drawn, again, strict=True))
    share = Patches(
        [document, Document("b", data, zeros, zeros)], cuts, CONFIG, {"stride": 1.0}, {"b": 0.0}
    )
    assert not set(share.draw(100, (0,)).owner.tolist()) - set(range(100))


def test_pieces_are_withheld(tmp_path: Path) -> None:
    (tmp_path / "long.txt").write_bytes(bytes(PIECE * 41))
    pieces, withheld = read_pieces(tmp_path)
    assert (len(pieces), len(withheld)) == (40, 1)
    (tmp_path / "long.txt").write_bytes(b"short")
    pieces, withheld = read_pieces(tmp_path)
    assert pieces == withheld
    (tmp_path / "long.txt").write_bytes(b"")
    with pytest.raises(InvalidInput, match="no text"):
        read_pieces(tmp_path)


@pytest.mark.parametrize(
    ("setting", "value"), [("x", 1), ("batch", 0), ("batch", 1.5), ("network.x", 1), ("ema", "a")]
)
def test_settings_are_checked(texts: Path, tmp_path: Path, setting: str, value: object) -> None:
    with pytest.raises(InvalidInput, match="setting"):
        go(texts, tmp_path, 1, **{setting: value})
