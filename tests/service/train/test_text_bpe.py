"""The recipe of `text/bpe`: the most frequent pairs, a histogram, and a codec that opens."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from omnicodec.codecs import InvalidInput, Text, load
from omnicodec.models import weights
from omnicodec.service.train import train
from omnicodec.service.train.run import RunOptions
from omnicodec.service.train.text_bpe import GROUP_WEIGHTS, _texts

WORDS = "the other thing is there, then and there\n" * 50 + "\u4f60\u597d \u0414\u043e\n" * 9


def data(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "a.txt").write_text(WORDS)
    (folder / "b.bin").write_bytes(b"\xff\xfe" + WORDS.encode() + b"\xff")
    return folder


def run(tmp_path: Path, name: str = "run", **options: object) -> Path:
    return train(
        "text/bpe", tmp_path / "data", tmp_path / name, RunOptions(**options), lambda _: None
    )


def test_training_ends_in_a_codec(tmp_path: Path) -> None:
    folder = data(tmp_path)
    export = run(tmp_path, settings={"vocabulary": 270, "longest": 4}, validation=folder)
    codec = load(export)
    assert codec.spec.codebook_sizes == (270,)
    assert max(map(len, codec._bytes)) == 4
    texts = [Text(WORDS), Text(b"\xff\0 the"), Text("")]
    assert codec.decode(codec.encode(texts)) == texts
    (tokens,) = codec.encode([Text(WORDS)])
    assert codec.spec.covers["bytes"] == pytest.approx(len(WORDS.encode()) / len(tokens), abs=0.01)
    rows = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").open()]
    assert rows[0]["bytes"] == 2 * len(WORDS.encode())
    assert rows[1]["validation_bytes_per_token_bpe"] > 2


def test_the_first_merge_is_the_most_frequent_pair(tmp_path: Path) -> None:
    data(tmp_path)
    merges = weights.read_folder(run(tmp_path, settings={"vocabulary": 259})).tensors["merges"]
    assert merges.dtype == np.uint16
    assert merges.tolist()[0] == [ord("t"), ord("h")]
    assert merges.tolist()[1] == [256, ord("e")]


def test_the_prior_is_the_histogram(tmp_path: Path) -> None:
    data(tmp_path)
    codec = load(run(tmp_path, settings={"vocabulary": 280}))
    (tokens,) = codec.encode([Text(WORDS)])
    counts = 2 * np.bincount(tokens.ids[0], minlength=280) + 1  # two files; none is impossible
    table = codec.prior.tables()["0.0"]
    assert table / table.sum() == pytest.approx(counts / counts.sum(), rel=0.1, abs=0.001)


def test_training_again_gives_the_same_files(tmp_path: Path) -> None:
    data(tmp_path)
    one, two = (run(tmp_path, name, settings={"vocabulary": 320}) for name in "ab")
    assert [p.name for p in sorted(one.iterdir())] == [
        "config.json", "model.safetensors", "prior.safetensors",
    ]  # fmt: skip
    for path in one.iterdir():
        assert path.read_bytes() == (two / path.name).read_bytes()


def test_groups_count_by_their_weight(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for group, weight in (("often", 2.5), ("seldom", 0.25)):
        monkeypatch.setitem(GROUP_WEIGHTS, group, weight)
        (tmp_path / group).mkdir()
        for i in range(8):
            (tmp_path / group / f"{i}.txt").write_text(f"{group} {i}")
    times: dict[str, int] = {}
    for text, n in _texts(tmp_path):
        times[text.split()[0]] = times.get(text.split()[0], 0) + n
    assert times == {"often": 20, "seldom": 2}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"vocabulary": 255}, "vocabulary must be a number from 256 to"),
        ({"vocabulary": 300.0}, "vocabulary must be a number"),
        ({"longest": True}, "longest must be a number from 2 to"),
        ({"size": 1}, "has no setting 'size'"),
    ],
)
def test_settings_are_checked(tmp_path: Path, settings: dict[str, object], message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        run(tmp_path, settings=settings)


def test_no_text_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "a.bin").write_bytes(b"\xff\xfe")
    with pytest.raises(InvalidInput, match="no text in"):
        run(tmp_path)
