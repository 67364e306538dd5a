"""Whole data sets of real-valued tokens: made, opened, checked, drawn, and given back as media."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from omnicodec.codecs import Image, InvalidInput, load
from omnicodec.service import batch
from omnicodec.service.batch.contents import Contents
from omnicodec.service.batch.job import Job
from omnicodec.service.batch.manifest import Manifest
from omnicodec.service.batch.prepare import Wishes, prepare
from omnicodec.service.batch.report import write_report
from omnicodec.service.cli.run import run as command_line

from .shown import ITEMS, shown_data_set, write_items

FORMATS = ("parquet", "mds", "wds")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return write_items(tmp_path / "items")


def expected(source: Path, quality: int | None = None) -> list[list[Any]]:
    """Return the real values of each item, as the codec gives them for its picture alone."""
    codec = load("image/soft")
    found = []
    for number in range(ITEMS):
        pictures = [Image.open(source.parent / f"{number}.png")] if number % 4 != 1 else []
        found.append([part.soft for part in codec.encode(pictures, quality=quality)])
    return found


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("quality", [None, 16])
def test_opened_values_are_those_of_the_codec(
    tmp_path: Path, source: Path, soft_codec: str, form: str, quality: int | None
) -> None:
    codecs = ["text/bytes", soft_codec]
    out = shown_data_set(source, tmp_path / "out", codecs=codecs, format=form, quality=quality)
    rows = batch.open(out)
    assert len(rows) == ITEMS
    for number, wanted in enumerate(expected(source, quality)):
        parts = [part for part in rows[number]["parts"] if "soft" in part]
        assert [part["modality"] for part in parts] == ["image"] * len(wanted)
        for part, soft in zip(parts, wanted, strict=True):
            assert part["soft"].dtype == (np.float16 if quality else np.float32)
            np.testing.assert_array_equal(part["soft"], soft)
            assert part["ids"].shape == (0, len(soft))
            assert np.prod(part["grid"]) == len(soft)
    facts = rows.manifest.facts
    assert facts["soft"] == {soft_codec: {"width": 3, "bits": quality or 32}}
    assert [entry.name for entry in rows.vocabulary.entries] == ["text/bytes"]


def test_counts_are_of_positions(tmp_path: Path, source: Path, soft_codec: str) -> None:
    out = shown_data_set(source, tmp_path / "out", codecs=["text/bytes", soft_codec])
    manifest = Manifest.load(out)
    sizes = [len(soft) for item in expected(source) for soft in item]
    counts = manifest.codecs[soft_codec]
    assert (counts["parts"], counts["positions"], counts["tokens"]) == (
        len(sizes), sum(sizes), sum(sizes),
    )  # fmt: skip
    assert manifest.tokens == sum(sizes) + manifest.codecs["text/bytes"]["tokens"]


@pytest.mark.parametrize("form", FORMATS)
def test_verified_drawn_and_given_back(
    tmp_path: Path,
    source: Path,
    soft_codec: str,
    form: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    shown_data_set(source, tmp_path / "out", codecs=["text/bytes", soft_codec], format=form)
    assert command_line(["verify", "out", "--deep"]) == 0, capsys.readouterr().err
    assert command_line(["detokenize", "out", "-o", "look"]) == 0, capsys.readouterr().err
    codec = load(soft_codec)
    for number, wanted in enumerate(expected(source)):
        for file in tmp_path.glob(f"look/items_{number}[./]*png"):
            (restored,) = codec.decode(codec.encode([Image.open(source.parent / f"{number}.png")]))
            assert wanted
            assert Image.open(file) == restored
    assert len(list(tmp_path.glob("look/**/*.png"))) == sum(map(len, expected(source)))
    with Contents.open(tmp_path / "out") as contents:
        made = write_report(contents, tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text()
    tally = made.tally.codecs[soft_codec]
    assert (tally.books, tally.lengths.count) == ([], sum(map(len, expected(source))))
    assert f"{soft_codec}: 3 real values of 32 bits a token, no ids" in page
    assert "tokens of 3 real values" in page
    assert "the first three real values of each token" in page
    restored = [part for sample in made.samples for part in sample.parts if part.restored]
    assert {part.modality for part in restored} == {"image", "text"}


@pytest.mark.parametrize(
    "wishes",
    [{"format": "megatron"}, {"format": "torchtitan"}, {"layout": "document"}, {"length": 64}],
)
def test_what_needs_ids_is_refused_before_anything(soft_codec: str, wishes: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput, match="image/soft are real values, which have no ids: keep"):
        prepare(Wishes(sources=["nowhere"], codecs=["text/bytes", soft_codec], **wishes))


def test_raw_rows_cannot_be_read_as_documents(
    tmp_path: Path, source: Path, soft_codec: str
) -> None:
    out = shown_data_set(source, tmp_path / "out", codecs=["text/bytes", soft_codec])
    with pytest.raises(InvalidInput, match="real values, which have no ids"):
        batch.open(out, layout="document")


def test_a_job_tells_of_real_values_only_where_there_are_some(soft_codec: str) -> None:
    plain, _ = prepare(Wishes(sources=["x"], codecs=["text/bytes", "image/vq"]))
    assert b"width" not in plain.to_bytes()
    assert plain.soft == {}
    job, _ = prepare(Wishes(sources=["x"], codecs=[soft_codec], quality=16))
    again = Job.from_json(json.loads(job.to_bytes()))
    assert again == job
    assert again.soft == {soft_codec: {"width": 3, "bits": 16}}
    with pytest.raises(InvalidInput, match="has no quality 8; known: 16, 32"):
        prepare(Wishes(sources=["x"], codecs=[soft_codec], quality=8))


def test_dry_run_and_the_command(
    source: Path, soft_codec: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["tokenize", str(source), "-o", str(tmp_path / "out"), "-c", soft_codec]
    assert command_line([*command, "-c", "text/bytes", "-q", "16", "--dry-run"]) == 0
    told = capsys.readouterr().out
    assert f"image: {soft_codec}, fingerprint " in told
    assert "3 real values of 16 bits a token" in told
    assert command_line([*command, "--format", "megatron"]) == 2
    assert "are real values, which have no ids" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
