"""Evaluations from end to end, on generated media."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from omnicodec.codecs import Image, InvalidInput, Media, Unavailable, UnknownCodec, load
from omnicodec.codecs.stream import write_tokens
from omnicodec.service.evaluate import Report, evaluate, run

Make = Callable[..., Image]


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory, picture: Make) -> Report:
    folder = tmp_path_factory.mktemp("shots")
    picture(32, 48, seed=0).save(folder / "a.png")
    picture(176, 176, seed=1).save(folder / "b.png")
    (folder / "c.png").write_bytes(b"\x89PNG and no more")
    return evaluate(
        "image/vq", folder, against=["jpeg", "webp"], device="cpu", report=lambda _: None
    )


def test_items_have_the_figures_of_their_files(report: Report, picture: Make) -> None:
    codec = load("image/vq", device="cpu")
    (tokens,) = codec.encode([picture(32, 48, seed=0)])
    item = report.items[0]
    assert item.file_bytes == len(write_tokens(tokens, codec))
    assert item.token_bits == 6 * math.log2(codec.spec.codebook_sizes[0])
    assert (item.name, item.size, item.units) == ("a.png", "48x32", 32 * 48)
    assert item.quality["ms_ssim"] is None  # under 161 pixels
    assert report.items[1].quality["ms_ssim"] is not None


def test_means_and_what_was_left_out(report: Report) -> None:
    assert report.summary.rate == pytest.approx(np.mean([item.rate for item in report.items]))
    psnr = [item.quality["psnr"] for item in report.items]
    assert report.summary.quality["psnr"] == pytest.approx(np.mean(psnr))
    assert [line.partition(":")[0] for line in report.skipped] == ["c.png"]


def test_anchors_are_measured_on_the_same_items(report: Report) -> None:
    assert [anchor.name for anchor in report.anchors] == ["jpeg", "webp"]
    for anchor in report.anchors:
        rates = [point.summary.rate for point in anchor.points]
        assert rates == sorted(rates)
        assert all(point.summary.items == 2 for point in anchor.points)
        assert anchor.match is not None


def test_json_holds_everything_and_survives(report: Report) -> None:
    plain = report.to_dict()
    assert json.loads(json.dumps(plain, allow_nan=False)) == plain
    assert plain["items"][0]["rate"] == report.items[0].rate
    assert plain["environment"]["torch"]
    assert len(plain["anchors"]) == 2
    assert "previews" not in plain


def test_table_names_codec_anchors_and_conditions(report: Report) -> None:
    table = report.to_table()
    for words in ("image/vq, tokens", ".omc files", "JPEG quality 1", "PSNR dB", "torch", "a.png"):
        assert words in table
    assert all(line.count("|") == 9 for line in table.splitlines() if "quality " in line)


def test_exact_codecs_are_said_to_be_exact(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("words and words " * 50)
    lines: list[str] = []
    report = evaluate("text/bytes", tmp_path, against=["gzip"], report=lines.append)
    assert report.summary.exact == report.summary.items == 1
    assert report.summary.token_rate == 8
    assert "All texts came back exactly." in report.to_table()
    assert "gzip: " in "".join(report.matches())
    assert [line.split()[0] for line in lines] == ["a.txt"]


def test_infinite_quality_is_none_in_json(pictures: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    codec = load("image/vq", device="cpu")
    originals: Iterator[Media] = iter([Image.open(pictures / "a.png")] * 2)
    monkeypatch.setattr(type(codec), "_decode", lambda *_: next(originals))
    report = evaluate("image/vq", pictures / "a.png", device="cpu", report=lambda _: None)
    assert report.summary.quality["psnr"] == math.inf
    assert report.to_dict()["items"][0]["quality"]["psnr"] is None
    assert "exact" in report.to_table()


def test_max_items(pictures: Path) -> None:
    report = evaluate("image/vq", pictures, device="cpu", max_items=1, report=lambda _: None)
    assert [item.name for item in report.items] == ["a.png"]
    with pytest.raises(InvalidInput, match="max_items"):
        evaluate("image/vq", pictures, max_items=0, report=lambda _: None)


def test_only_the_worst_pictures_are_kept(pictures: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "PREVIEWS", 2)
    report = evaluate("image/vq", pictures, device="cpu", report=lambda _: None)
    assert set(report.previews) == {item.name for item in report.worst_first()[:2]}


def test_nothing_to_measure(pictures: Path, tmp_path: Path) -> None:
    (pictures / "more" / "c.webp").unlink()
    with pytest.raises(InvalidInput, match=r"no pictures \(\.png, "):
        evaluate("image/vq", pictures / "more", report=lambda _: None)
    with pytest.raises(InvalidInput, match="is not a file, a folder"):
        evaluate("image/vq", tmp_path / "nowhere", report=lambda _: None)
    with pytest.raises(UnknownCodec):
        evaluate("image/none", pictures, report=lambda _: None)


def test_anchors_are_checked_first(pictures: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pillow_jxl", None)
    measured: list[str] = []
    with pytest.raises(Unavailable):
        evaluate("image/vq", pictures, against=["jxl"], report=measured.append)
    assert measured == []


def test_modalities_that_are_not_covered_yet(
    pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = replace(load("text/bytes").spec, name="audio/none", modality="audio")
    monkeypatch.setattr(run, "load", lambda *_, **__: SimpleNamespace(spec=other))
    with pytest.raises(InvalidInput, match=r"not evaluated yet; covered: image, text"):
        evaluate("audio/none", pictures, report=lambda _: None)
