"""The benchmark of fitted codecs, on codecs without a network and a small HNeRV."""

from __future__ import annotations

import importlib
import json
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from omnicodec.codecs import Image, InvalidInput, Video, load
from omnicodec.service.evaluate.figures import Item, Seconds

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"


def benches(name: str) -> ModuleType:
    return importlib.import_module(f"benches.{name}")


@pytest.fixture(autouse=True)
def _path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(SCRIPTS)


def run(monkeypatch: pytest.MonkeyPatch, *words: object) -> None:
    monkeypatch.setattr(sys, "argv", ["scripts/bench.py", "inr", *map(str, words)])
    importlib.import_module("bench").main()


def picture(seed: int, height: int = 40, width: int = 56) -> Image:
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width]
    waves = 128 + 90 * np.sin(x / 7) * np.cos(y / 9)
    noise = rng.normal(0, 9, (height, width, 3))
    return Image((waves[..., None] + noise).clip(0, 255).astype(np.uint8))


def clip(count: int = 5, height: int = 40, width: int = 48) -> Video:
    return Video(np.stack([picture(k, height, width).pixels for k in range(count)]), 25)


def item(quality: int) -> Item:
    """Return one of 10 * 2 ** (quality / 10) bytes and 20 + quality / 2 dB."""
    return Item(
        name="clip",
        size="",
        units=8000,
        file_bytes=round(10 * 2 ** (quality / 10)),
        token_bits=None,
        exact=False,
        seconds=Seconds(compress=1.0 + quality, decompress=0.5),
        quality={"psnr": 20 + quality / 2},
    )


def test_pictures_beside_formats(
    blocks: tuple[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for k in range(3):
        picture(k).save(tmp_path / f"{k}.png")
    monkeypatch.setattr(benches("inr"), "open_codec", lambda *_: load(blocks[0]))
    out = tmp_path / "results" / "inr.json"
    run(
        monkeypatch, "--images", tmp_path, "--image-efforts", "fast,best", "-o", out,
        "--image-qualities", "40,70,100", "--image-against", "jpeg", "--max-pictures", 2,
        "--fit-pictures", 1,
    )  # fmt: skip
    figures = json.loads(out.read_text())
    assert figures["video"] is figures["hnerv"] is None
    assert "libjpeg" in figures["formats"]["JPEG"]
    curves = figures["image"]["curves"]
    assert list(curves) == ["image/inr fast", "image/inr best", "JPEG"]
    assert list(curves["image/inr best"]["40"]["items"]) == ["0.png"]
    fast = curves["image/inr fast"]["100"]
    assert list(fast["items"]) == ["0.png", "1.png"]
    assert fast["rate"] == np.mean([8 * one["bytes"] / 2240 for one in fast["items"].values()])
    psnr = {row["curve"]: row for row in figures["image"]["bd_rate"] if row["metric"] == "psnr"}
    assert [psnr[f"image/inr {effort}"]["items"] for effort in ("fast", "best")] == [2, 1]
    # Both over the same picture: rounding to nearest is better than down.
    own = psnr["image/inr fast"]["of_items"]["0.png"]
    assert psnr["image/inr best"]["percent"] < own
    assert "BD-rate" in capsys.readouterr().out


def test_clips_are_cut_and_measured(
    film_codec: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    codec = load(film_codec)
    codec.spec = replace(codec.spec, qualities=(20, 50), efforts=("fast",))
    monkeypatch.setattr(benches("inr"), "open_codec", lambda *_: codec)
    clip().save(tmp_path / "large.mkv")
    clip(3, 20, 32).save(tmp_path / "small.mkv")
    out = tmp_path / "inr.json"
    run(
        monkeypatch, "--clips", tmp_path / "large.mkv", tmp_path / "small.mkv", "--frames", 4,
        "--crop", "32x40", "--video-qualities", "20,50", "--video-against", "x264", "-o", out,
    )  # fmt: skip
    clips = json.loads(out.read_text())["video"]["clips"]
    assert clips["large.mkv"]["size"].startswith("40x32, 4 frames")
    assert clips["small.mkv"]["size"].startswith("32x20, 3 frames")
    assert clips["large.mkv"]["bd_rate"] == []  # two qualities are no curve
    first = clips["large.mkv"]["curves"]["x264"]["20"]["items"]["large.mkv"]
    assert first["rate"] == 8 * first["bytes"] / (4 * 32 * 40)
    assert first["psnr"] > 25
    with pytest.raises(SystemExit):
        run(monkeypatch, "--clips", tmp_path / "large.mkv", "--crop", "32")
    assert "--crop" in capsys.readouterr().err


def test_the_middle_of_frames(tmp_path: Path) -> None:
    item = clip()
    item.save(tmp_path / "clip.mkv")
    cut = benches("inr")._clip(tmp_path / "clip.mkv", 2, (20, 24))
    assert np.array_equal(cut.frames, item.frames[:2, 10:30, 12:36])


def test_nothing_to_measure(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="give --images, --clips or both"):
        run(monkeypatch)
    with pytest.raises(SystemExit, match="first of --clips"):
        run(monkeypatch, "--images", tmp_path, "--hnerv-minutes", 1)


def test_bytes_for_a_psnr_lie_between_two_qualities() -> None:
    asked: list[int] = []

    def measure(quality: int) -> Item:
        asked.append(quality)
        return item(quality)

    points = {20: item(20), 50: item(50)}
    found = benches("_hnerv").same_psnr(measure, points, 35.0)
    assert found["qualities"] == [20, 50]
    assert found["bytes"] == pytest.approx(10 * 2**3, abs=1)
    assert found["encode_seconds"] == pytest.approx(31)
    assert not asked
    found = benches("_hnerv").same_psnr(measure, points, 62.0)
    assert found["qualities"] == [70, 90]
    assert asked == [70, 90]
    found = benches("_hnerv").same_psnr(measure, points, 12.0)
    assert found["qualities"] == [0]
    assert (found["bytes"], found["psnr"]) == (10, 20.0)
    assert list(points) == [20, 50]


def test_hnerv_ends_its_schedule_in_time() -> None:
    bench, fit = benches("_hnerv"), importlib.import_module("omnicodec.codecs.video._inr_fit")
    before = dict(fit.HNERV_EPOCHS)
    lines: list[str] = []
    found: dict[str, Any] = bench.hnerv(
        load("video/inr", device="cpu"),
        benches("_points").kind_of("video", ("psnr",)),
        "clip",
        clip(),
        quality=60,
        minutes=0.03,
        device="cpu",
        ways=(1, 1),
        say=lines.append,
    )
    assert 1 <= found["epochs"] <= found["epochs_planned"]
    assert found["parameters"] > 100
    assert found["psnr"] > 5
    assert found["rate"] == 8 * found["bytes"] / (5 * 40 * 48)
    assert before == fit.HNERV_EPOCHS
    assert "epochs" in lines[0]


def test_a_fit_ends_when_its_time_is_up() -> None:
    watch = benches("_hnerv")._Watch(0.0, lambda _: None)
    assert watch.enough(None)
    assert not benches("_hnerv")._Watch(60.0, lambda _: None).enough(None)


def test_weights_of_a_folder(tmp_path: Path) -> None:
    for name in ("image/inr", "video/inr"):
        with pytest.raises(InvalidInput, match=f"holds no {name}"):
            benches("inr").open_codec(name, tmp_path, "cpu")
