"""Evaluations from end to end, on generated media."""

from __future__ import annotations

import json
import math
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from omnicodec.codecs import (
    Audio,
    Image,
    InvalidInput,
    Media,
    Unavailable,
    UnknownCodec,
    describe,
    load,
)
from omnicodec.codecs.stream import write_tokens
from omnicodec.service.evaluate import Report, evaluate, previews, run
from omnicodec.service.evaluate.bd import bd_rate
from omnicodec.service.evaluate.measure import for_models
from omnicodec.service.evaluate.report import worst_first

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


@pytest.fixture
def compared(blocks: tuple[str, str], pictures: Path) -> Report:
    return evaluate(
        blocks[0],
        pictures,
        beside=[blocks[1]],
        against=["jpeg", "webp"],
        qualities="all",
        rates=(0.2, 4),
        previews=False,
        report=lambda _: None,
    )


def test_codecs_beside_each_other_have_their_own_figures(
    compared: Report, blocks: tuple[str, str], pictures: Path
) -> None:
    fine, coarse = blocks
    assert (compared.codec, compared.quality) == (fine, 100)  # the best first
    assert [other.quality for other in compared.others] == [70, 40, 10]
    (beside,) = compared.beside
    assert (beside.codec, [point.quality for point in beside.points]) == (coarse, [None])
    alone = evaluate(coarse, pictures, report=lambda _: None)
    assert beside.points[0].summary.rate == alone.summary.rate
    assert beside.points[0].summary.quality == alone.summary.quality
    names = [name for name, _ in compared.own()]
    assert names == [*(f"{fine} -q {q}" for q in (10, 40, 70, 100)), coarse]
    assert compared.title.startswith(f"{fine}, {coarse} on pictures")


def test_curves_are_of_whole_files(compared: Report, blocks: tuple[str, str]) -> None:
    assert [(c.title, c.anchor, len(c.points)) for c in compared.curves] == [
        (blocks[0], False, 4),
        (blocks[1], False, 1),
        ("JPEG", True, 6),
        ("WebP", True, 6),
    ]
    own = compared.curves[0]
    assert [p.setting for p in own.points] == ["-q 10", "-q 40", "-q 70", "-q 100"]
    assert own.points[-1].rate == compared.summary.rate
    assert own.points[-1].quality == compared.summary.quality
    assert compared.summary.rate == pytest.approx(
        np.mean([8 * item.file_bytes / item.units for item in compared.items])
    )


def test_bd_rates_are_of_these_curves_and_of_each_picture(compared: Report) -> None:
    found = {(b.metric, b.curve, b.reference): b for b in compared.bd_rates}
    assert ("psnr", "JPEG", "WebP") in found
    assert not any("ms_ssim" in key for key in found)  # too small pictures
    pair = found["psnr", "image/blocks", "JPEG"]
    psnr = compared.kind.metrics[0]
    expected = bd_rate(*(compared.curves[n].scaled(psnr) for n in (0, 2)), (0.2, 4))
    assert expected is not None
    assert (pair.percent, pair.low) == (expected.percent, expected.low)
    assert set(pair.items) == {item.name for item in compared.items}
    assert any(value is not None for value in pair.items.values())


def test_bd_rates_in_table_and_json(compared: Report) -> None:
    table = compared.to_table()
    header, rows = compared.bd_tables()[0]
    assert header == ["BD-rate, PSNR", "to image/blocks", "to JPEG", "to WebP"]
    assert [row[0] for row in rows] == ["image/blocks", "JPEG", "WebP"]
    assert rows[0][1] == "-"
    assert re.fullmatch(r"[+-][\d.]+ %", rows[0][2])
    assert all(cell in table for row in rows for cell in row)
    assert "at 0.2 to 4 bits per pixel" in table
    plain = compared.to_dict()
    assert json.loads(json.dumps(plain, allow_nan=False)) == plain
    assert plain["rates"] == [0.2, 4]
    assert plain["curves"][0]["points"][0]["setting"] == "-q 10"
    assert plain["bd_rates"][0]["items"].keys() == {item.name for item in compared.items}
    point = plain["beside"][0]["points"][0]
    assert point["items"][0]["rate"] == compared.beside[0].points[0].items[0].rate


def test_codecs_beside_take_the_qualities_that_they_all_have(
    blocks: tuple[str, str], pictures: Path
) -> None:
    fine, coarse = blocks
    reports = [
        evaluate(first, pictures / "a.png", beside=[other], qualities=q, report=lambda _: None)
        for first, other, q in ((fine, coarse, [40]), (coarse, fine, []))
    ]
    assert reports[0].quality == 40
    assert reports[0].beside[0].points[0].quality is None
    assert reports[1].beside[0].points[0].quality is None


@pytest.mark.parametrize(
    ("known", "qualities", "expected"),
    [
        ((1, 2, 3), "all", (3, 2, 1)),
        (range(101), "all", (100, 88, 75, 62, 50, 38, 25, 12, 0)),
        ((1, 2, 3), [2, 2, 1], (2, 1)),
        ((1, 2, 3), [2, 4], (3, 2, 1)),
        ((), [2], (None,)),
        ((), "all", (None,)),
        ((1, 2), [], (None,)),
    ],
)
def test_qualities_of_a_codec_beside(
    known: Sequence[int], qualities: run.Qualities, expected: tuple[int | None, ...]
) -> None:
    spec = replace(load("text/bytes").spec, qualities=tuple(known))
    assert run._settings(spec, qualities, first=False) == expected


def test_efforts_are_passed_on(blocks: tuple[str, str], pictures: Path) -> None:
    name, file = blocks[0], pictures / "a.png"
    fast, best = (
        evaluate(name, file, effort=effort, report=lambda _: None) for effort in ("fast", "best")
    )
    assert best.to_dict()["effort"] == "best"
    assert (best.summary.quality["psnr"] or 0) > (fast.summary.quality["psnr"] or 0)
    with pytest.raises(InvalidInput, match="has no effort worst"):
        evaluate(name, pictures, effort="worst", report=lambda _: None)


def test_two_of_one_name_are_told_apart(
    blocks: tuple[str, str], pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a shipped codec and one's own weights for it are."""
    own = type(load(blocks[0]))()
    own.spec = replace(own.spec, fingerprint="12345678" * 2)
    shipped = load(blocks[0])
    monkeypatch.setattr(run, "load", lambda name, **_: own if name == Path("own") else shipped)
    report = evaluate(
        blocks[0], pictures, beside=[Path("own")], qualities="all", report=lambda _: None
    )
    titles = [curve.title for curve in report.curves]
    assert titles == [f"{blocks[0]} 00000000", f"{blocks[0]} 12345678"]
    assert len(report.bd_rates) > 0
    assert {b.percent for b in report.bd_rates} == {0.0}
    views = next(iter(report.previews.values()))
    assert len({view.title for view in views}) == len(views)


def test_comparisons_that_make_no_sense(blocks: tuple[str, str], pictures: Path) -> None:
    with pytest.raises(InvalidInput, match="text/bytes is no codec of image"):
        evaluate(blocks[0], pictures, beside=["text/bytes"], report=lambda _: None)
    for rates in ((1, 1), (0, 1), (2, 1), (math.nan, 1)):
        with pytest.raises(InvalidInput, match="are no range above 0"):
            evaluate(blocks[0], pictures, rates=rates, report=lambda _: None)


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
    assert all(line.count("|") == 10 for line in table.splitlines() if "| JPEG quality " in line)


def test_ids_for_models_are_fewer_than_what_they_stand_for() -> None:
    for name in ("image/vq", "image/vq8", "audio/rvq", "text/bytes", "text/bpe", "text/patch"):
        assert for_models(describe(name))
    assert not for_models(describe("image/rate"))

    def known(modality: str, books: int, **covers: float) -> bool:
        spec = replace(
            describe("text/bytes"),
            modality=modality,
            codebook_sizes=(1024,) * books,
            covers=covers,
        )
        return for_models(spec)

    assert known("image", 3, height=2, width=2)
    assert not known("image", 4, height=2, width=2)
    assert known("video", 4, height=2, width=2, frames=2)
    assert known("audio", 16, seconds=0.02, channels=1)
    assert not known("audio", 1, seconds=1 / 8000, channels=1)
    assert not known("image", 1)
    assert not known("image", 1, numbers=1)
    assert known("text", 1)  # another's vocabulary, of which nobody knows what it covers


def test_ids_for_the_entropy_coder_have_no_row(tmp_path: Path, picture: Make) -> None:
    picture(32, 48, seed=0).save(tmp_path / "a.png")
    report = evaluate(
        "image/vq", tmp_path, beside=["image/rate"], device="cpu", report=lambda _: None
    )
    titles = [row[0] for row in report.comparison()[1]]
    assert titles == ["image/vq, tokens", "image/vq, .omc files", "image/rate, .omc files"]
    (item,) = report.beside[0].points[0].items
    assert (item.token_bits, item.token_rate) == (None, None)
    note = "There is no row for the tokens of image/rate:"
    assert [note in line for line in report.notes()].count(True) == 1
    assert note in report.to_table()
    alone = replace(report, beside=())
    assert not any("no row for the tokens" in line for line in alone.notes())


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
    monkeypatch.setattr(type(codec), "_decode_all", lambda *_: [next(originals)])
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
    monkeypatch.setattr(previews, "PICTURES", 2)
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
    other = replace(load("text/bytes").spec, name="series/none", modality="series")
    monkeypatch.setattr(run, "load", lambda *_, **__: SimpleNamespace(spec=other))
    with pytest.raises(
        InvalidInput, match=r"not evaluated yet; covered: audio, image, text, video"
    ):
        evaluate("series/none", pictures, report=lambda _: None)


@pytest.fixture(scope="module")
def sounds(tmp_path_factory: pytest.TempPathFactory, sound: Callable[..., Audio]) -> Path:
    folder = tmp_path_factory.mktemp("sounds")
    sound(1.5, 16_000, seed=1).save(folder / "a.wav")
    sound(1.2, 44_100, channels=2, seed=2).save(folder / "b.flac")
    Audio(np.zeros((1, 2400), np.float32), 24_000).save(folder / "c.wav")
    return folder


@pytest.fixture(scope="module")
def sound_report(sounds: Path) -> Report:
    pytest.importorskip("av")
    qualities = sorted(load("audio/rvq", device="cpu").spec.qualities)
    return evaluate(
        "audio/rvq",
        sounds,
        against=["opus"],
        qualities=[qualities[-1], qualities[0]],
        device="cpu",
        report=lambda _: None,
    )


def test_each_quality_has_its_figures(sound_report: Report, sounds: Path) -> None:
    codec = load("audio/rvq", device="cpu")
    best, least = max(codec.spec.qualities), min(codec.spec.qualities)
    (other,) = sound_report.others
    assert (sound_report.quality, other.quality) == (best, least)
    for quality, items in ((best, sound_report.items), (least, other.items)):
        for item in items[:2]:
            (tokens,) = codec.encode([Audio.open(sounds / item.name)], quality=quality)
            assert item.file_bytes == len(write_tokens(tokens, codec, quality=quality))
            assert item.units == round(1000 * Audio.open(sounds / item.name).duration)
            books = int(tokens.ids.any(1).sum())
            assert item.token_bits == len(tokens) * books * math.log2(codec.spec.codebook_sizes[0])
    assert other.summary.rate < sound_report.summary.rate
    names = [name for name, _ in sound_report.own()]
    assert names == [f"audio/rvq -q {least}", f"audio/rvq -q {best}"]


def test_rates_of_sound_are_all_bits_over_all_seconds(sound_report: Report) -> None:
    items = sound_report.items
    bits, seconds = sum(8 * i.file_bytes for i in items), sum(i.units for i in items) / 1000
    assert sound_report.summary.rate == pytest.approx(bits / seconds / 1000)
    speed = sound_report.summary.decode
    assert speed is not None
    total = sum(i.seconds.decode or 0 for i in items)
    assert sound_report.kind.speeds[0].of(speed) == pytest.approx(seconds / total)


def test_silence_has_no_speech_to_score(sound_report: Report) -> None:
    silent = sound_report.items[2]
    assert silent.name == "c.wav"
    assert (silent.quality["pesq"], silent.quality["stoi"], silent.quality["si_sdr"]) == (None,) * 3
    assert silent.quality["mel"] is not None
    assert sound_report.summary.scored["si_sdr"] == 2
    assert "SI-SDR is of 2 of 3 clips." in sound_report.notes()


def test_table_and_json_have_all_qualities(sound_report: Report) -> None:
    table = sound_report.to_table()
    for name, _ in sound_report.own():
        assert f"{name}, tokens" in table
        assert f"{name}, .omc files" in table
    plain = sound_report.to_dict()
    assert json.loads(json.dumps(plain, allow_nan=False)) == plain
    assert plain["others"][0]["items"][0]["rate"] == sound_report.others[0].items[0].rate


def test_metrics_without_their_library_are_left_out_and_that_is_said(
    sounds: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pesq", None)
    monkeypatch.setitem(sys.modules, "pystoi", None)
    lines: list[str] = []
    report = evaluate("audio/rvq", sounds / "a.wav", device="cpu", report=lines.append)
    assert lines[0].startswith('PESQ was not measured; it needs: pip install "omnicodec[pesq]"')
    assert lines[1].startswith('STOI was not measured; it needs: pip install "omnicodec[eval]"')
    assert set(lines[:2]) <= set(report.notes())
    assert report.summary.quality["pesq"] is None
    assert report.summary.quality["si_sdr"] is not None
    assert report.ranking is not None
    assert report.ranking.name == "mel"  # less is better: the largest is the worst


def test_worst_by_a_falling_metric(sound_report: Report) -> None:
    (mel,) = (metric for metric in sound_report.kind.metrics if metric.name == "mel")
    ordered = worst_first(sound_report.items, mel)
    distances = [item.quality["mel"] or 0.0 for item in ordered]
    assert distances == sorted(distances, reverse=True)


def test_qualities_that_the_codec_does_not_have(sounds: Path) -> None:
    with pytest.raises(InvalidInput, match="audio/rvq has no quality 99"):
        evaluate("audio/rvq", sounds, qualities=[99], device="cpu", report=lambda _: None)


def test_same_quality_twice_is_measured_once(sounds: Path) -> None:
    least = min(load("audio/rvq", device="cpu").spec.qualities)
    report = evaluate(
        "audio/rvq", sounds / "a.wav", qualities=[least] * 2, device="cpu", report=lambda _: None
    )
    assert (report.quality, report.others) == (least, ())
