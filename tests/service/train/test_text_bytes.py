"""The recipe of `text/bytes`: what is held out, what it writes, and that it learns."""

from __future__ import annotations

import json
import random
from pathlib import Path

import numpy as np
import pytest
import zstandard

from omnicodec.codecs import InvalidInput
from omnicodec.codecs.prior.mixer import ByteModel, text_schema
from omnicodec.codecs.prior.mixer.state import initial_tensors
from omnicodec.models import weights
from omnicodec.service.train import train
from omnicodec.service.train.run import RunOptions
from omnicodec.service.train.text_bytes import PIECE, TextBytesRecipe

WORDS = [
    "lorem", "ipsum", "dolor", "sit", "amet", "consectetur", "adipiscing", "elit", "sed", "do",
]  # fmt: skip
SMALL = {"counted": 11, "shipped": 9}


def write(seed: int, length: int) -> bytes:
    pick = random.Random(seed)
    lines = [" ".join(pick.choices(WORDS, k=8)) for _ in range(length // 50)]
    return "\n".join(lines).encode()[:length]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    (folder / "latin").mkdir(parents=True)
    for i in range(3):
        (folder / "latin" / f"{i}.txt").write_bytes(write(i, 30_000))
    (folder / "more.txt.zst").write_bytes(zstandard.compress(write(9, 20_000)))
    (folder / "short.txt").write_bytes(b"too short to learn from")
    return folder


def run(data: Path, out: Path, **options: object) -> Path:
    return train("text/bytes", data, out, RunOptions(**options), lambda _: None)


def test_training_ends_in_a_byte_model(data: Path, tmp_path: Path) -> None:
    held = tmp_path / "held"
    held.mkdir()
    (held / "a.txt").write_bytes(write(77, 6000))
    folder = run(data, tmp_path / "run", settings=SMALL, validation=held)
    assert folder == tmp_path / "run" / "export"
    shipped = weights.read_folder(folder)
    assert shipped.config["version"] == 2
    assert shipped.prior["static"].shape == (16, 1 << 9)
    model = ByteModel.from_shipped(shipped)
    assert model.schema == text_schema()
    untrained = ByteModel(text_schema(), initial_tensors(text_schema()))
    text = write(78, 4000)
    assert model.surprisal(text).mean() < 0.8 * untrained.surprisal(text).mean()
    rows = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").open()]
    assert rows[0]["seen_bytes"] + rows[0]["held_out_bytes"] == pytest.approx(110_000, rel=0.3)
    assert rows[0]["seen_bytes"] > rows[0]["held_out_bytes"] > 0
    (measured,) = [row["held"] for row in rows if "held" in row]
    assert 0 < measured < 4
    expected = [model.surprisal(write(77, 6000)[a : a + 4096]).mean() / 4096 for a in (0, 4096)]
    assert measured == pytest.approx(np.mean(expected), rel=0.3)
    assert 2 < shipped.config["bytes_per_window"] < 30


def test_a_seed_decides(data: Path, tmp_path: Path) -> None:
    one, other = (run(data, tmp_path / name, settings=SMALL, seed=1) for name in "ab")
    name = "prior.safetensors.zst"
    assert (one / name).read_bytes() == (other / name).read_bytes()
    assert (one / "config.json").read_bytes() == (other / "config.json").read_bytes()
    orders = [TextBytesRecipe()._split(data, seed)[0] for seed in (1, 2)]
    assert [s.tobytes() for s, _ in orders[0]] != [s.tobytes() for s, _ in orders[1]]


def test_whole_stretches_are_held_out(data: Path) -> None:
    seen, held_out = TextBytesRecipe()._split(data, 0)
    everything = [write(i, 30_000) for i in range(3)] + [write(9, 20_000)]
    taken = [symbols.astype(np.uint8).tobytes() for symbols, _ in seen]
    kept = [symbols.astype(np.uint8).tobytes() for symbols, _ in held_out]
    assert all(any(piece in text for text in everything) for piece in taken)
    assert all(len(piece) <= PIECE * 5 // 4 for piece in taken)
    assert not any(piece in text for piece in kept for text in taken)
    whole = sum(map(len, everything))
    assert 0.9 * whole < sum(map(len, taken)) + sum(map(len, kept)) <= whole
    # Both groups give some of theirs, and no more than they may.
    for group in (everything[:3], everything[3:]):
        assert any(piece in b"\n".join(group) for piece in kept)
    few = TextBytesRecipe(held_out=1000, more={"latin": 0})._split(data, 0)[1]
    assert 0 < sum(symbols.size for symbols, _ in few) < 1000 + (1 << 14)
    assert not any(
        symbols.astype(np.uint8).tobytes() in text for symbols, _ in few for text in everything[:3]
    )


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"x": 1}, "no setting 'x'"),
        ({"counted": 7}, "counted must be a number from 8 to 26, not 7"),
        ({"shipped": 27}, "shipped must be"),
        ({"shipped": "9"}, "shipped must be"),
        ({"shipped": True}, "shipped must be"),
        ({"counted": 9, "shipped": 10}, "must not be less"),
    ],
)
def test_settings_that_cannot_be(tmp_path: Path, settings: dict, message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        run(tmp_path, tmp_path / "run", settings=settings)


def test_nothing_to_learn_from(tmp_path: Path) -> None:
    (tmp_path / "empty.txt").touch()
    (tmp_path / "short.txt").write_text("a few words")
    with pytest.raises(InvalidInput, match="no text"):
        run(tmp_path, tmp_path / "run")
