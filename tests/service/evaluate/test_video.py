"""Video is evaluated: formats decode right, frames have figures, and the page has players."""

from __future__ import annotations

import base64
import io
import json
import math
import re
import shutil
import subprocess
import zlib
from collections.abc import Callable, Mapping
from fractions import Fraction
from pathlib import Path
from typing import ClassVar, Self

import numpy as np
import pytest
from numpy.typing import NDArray

from omnicodec.codecs import Audio, CodecSpec, InvalidInput, Media, Tokens, Video
from omnicodec.codecs.codec import Codec, Mask, Settings
from omnicodec.codecs.prior import Prior, Span
from omnicodec.codecs.registry import AnyCodec
from omnicodec.codecs.stream import write_tokens
from omnicodec.service.evaluate import evaluate, psnr, write_html
from omnicodec.service.evaluate.anchors import choose
from omnicodec.service.evaluate.video_formats import SVT_AV1, X264, X265, VideoFormat
from omnicodec.service.evaluate.video_metrics import (
    FramePairs,
    comparable,
    mean_ms_ssim,
    mean_psnr,
    stream_bits,
)

av = pytest.importorskip("av")

NAME = "video/steps"
STEPS = {20: 64, 50: 32, 80: 12}


def clip(count: int = 12, height: int = 48, width: int = 64) -> Video:
    """Return a picture that moves, with some noise and some sound."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[0:height, 0:width]
    frames = []
    for t in range(count):
        waves = [128 + 80 * np.sin((x + 2 * t) / (6 + c)) * np.cos(y / 9) for c in range(3)]
        frames.append(np.stack(waves, 2) + rng.integers(-3, 4, (height, width, 3)))
    pixels = np.stack(frames).clip(0, 255).astype(np.uint8)
    return Video(pixels, Fraction(25), Audio(np.zeros((1, 4000), np.float32), 8000))


class PackedPrior(Prior):
    fingerprint = "00000000000000aa"

    def encode(self, ids: NDArray[np.int32], span: Span) -> bytes:
        return zlib.compress(ids.astype(np.uint8).tobytes(), 9)

    def decode(self, data: bytes, span: Span) -> NDArray[np.int32]:
        return np.frombuffer(zlib.decompress(data), np.uint8).reshape(3, -1).astype(np.int32)


class StepCodec(Codec[Video]):
    """Pixels rounded to steps, the coarser the lower the quality."""

    media_type: ClassVar[type[Media]] = Video
    on_device: ClassVar[bool] = False
    chunk_positions: ClassVar[int] = 4 * 48 * 64  # four frames

    def __init__(self) -> None:
        self.spec, self.prior = self.describe(), PackedPrior()

    @classmethod
    def describe(cls) -> CodecSpec:
        return CodecSpec(
            name=NAME,
            version=1,
            modality="video",
            summary="rounded pixels",
            fingerprint="00000000000000ee",
            codebook_sizes=(256, 256, 256),
            covers={"frames": 1, "height": 1, "width": 1},
            prior=PackedPrior.fingerprint,
            extent=("frames", "height", "width"),
            grid_rank=3,
            qualities=tuple(STEPS),
        )

    @classmethod
    def open(cls, device: str) -> Self:
        return cls()

    def expected_grid(self, extent: Mapping[str, int], positions: int) -> tuple[int, ...]:
        return extent["frames"], extent["height"], extent["width"]

    def _encode(self, item: Video, settings: Settings) -> Tokens:
        grid = item.frames.shape[:3]
        step = STEPS[settings.quality or 50]
        levels = np.minimum(np.round(item.frames.astype(float) / step) * step, 255)
        extent = dict(zip(self.spec.extent, grid, strict=True))
        ids = levels.astype(np.int32).reshape(-1, 3).T.copy()
        return Tokens(NAME, self.spec.fingerprint, ids, grid, extent)

    def _decode(self, tokens: Tokens, missing: Mask | None) -> Video:
        frames = tokens.ids.T.reshape(*tokens.grid, 3).astype(np.uint8)
        return Video(frames, Fraction(25))


@pytest.fixture
def steps(register: Callable[[str, type[AnyCodec]], None]) -> str:
    register(NAME, StepCodec)
    return NAME


@pytest.fixture
def clips(tmp_path: Path) -> Path:
    folder = tmp_path / "clips"
    folder.mkdir()
    clip().save(folder / "a.mkv")
    clip(7, 33, 47).save(folder / "<b>.mkv")
    return folder


def need(form: VideoFormat) -> None:
    if form.encoder not in av.codecs_available:
        pytest.skip(f"no {form.encoder}")


# Formats.


@pytest.mark.parametrize(("form", "crf"), [(X264, 20), (X265, 20), (SVT_AV1, 25)])
@pytest.mark.parametrize("size", [(96, 128), (97, 127)])
def test_formats_come_back_whole_and_close(
    form: VideoFormat, crf: int, size: tuple[int, int]
) -> None:
    need(form)
    video = clip(9, *size)
    data = form.encode(video, crf)
    pairs, _ = comparable(video, form.decode(data))
    assert pairs.decoded.shape == video.frames.shape
    assert mean_psnr(pairs) > 26
    assert pairs.psnr_yuv > 32
    assert len(data) < len(form.encode(video, 0 if form is not SVT_AV1 else 1))


@pytest.mark.parametrize(("form", "crf"), [(X264, 30), (X265, 30), (SVT_AV1, 40)])
def test_bits_of_frames_are_those_of_the_file_and_the_first_has_most(
    form: VideoFormat, crf: int
) -> None:
    need(form)
    video = clip(12, 96, 128)
    data = form.encode(video, crf)
    bits = form.frame_bits(data)
    assert len(bits) == 12
    assert sum(bits) == 8 * len(data)
    assert bits[0] == max(bits)


def test_frames_are_in_the_order_in_which_they_are_shown() -> None:
    need(X264)
    grey = np.arange(10, 250, 20, np.uint8)[:, None, None, None]
    video = Video(np.broadcast_to(grey, (12, 32, 32, 3)).copy(), Fraction(25))
    back = X264.decode(X264.encode(video, 10)).frames.mean((1, 2, 3))
    assert np.abs(back - grey.reshape(-1)).max() < 3


def test_anchors_are_known_by_their_names() -> None:
    found = choose("video", ["x264", "x265", "svtav1"])
    assert [anchor.title for anchor in found] == ["x264", "x265", "SVT-AV1"]
    assert "preset 6" in found[2].options
    with pytest.raises(InvalidInput, match="x264, x265, svtav1"):
        choose("video", ["vp8"])


# Figures.


def test_figures_of_frames_and_their_means() -> None:
    rng = np.random.default_rng(0)
    original = rng.integers(0, 256, (3, 161, 161, 3), np.uint8)
    decoded = original.copy()
    decoded[1] = np.clip(original[1].astype(int) + 4, 0, 255)
    pairs = FramePairs(original, decoded)
    assert pairs.psnr[0] == math.inf
    assert pairs.psnr[1] == psnr(original[1], decoded[1])
    assert mean_psnr(pairs) == pytest.approx((200 + pairs.psnr[1]) / 3)
    assert mean_psnr(FramePairs(original, original)) == math.inf
    quality = mean_ms_ssim(pairs)
    assert quality is not None
    assert 0.9 < quality < 1
    assert mean_ms_ssim(FramePairs(original[:, :100], decoded[:, :100])) is None
    assert FramePairs(original, original).psnr_yuv == math.inf


def test_psnr_yuv_is_that_of_levels_of_grey() -> None:
    """A step of grey is 219/255 of one in luma, which is 4 of 6 samples, and none in chroma."""
    original = np.full((2, 32, 32, 3), 100, np.uint8)
    pairs = FramePairs(original, original + np.uint8(20))
    mse = (20 * 219 / 255) ** 2 * 4 / 6
    assert pairs.psnr_yuv == pytest.approx(10 * math.log10(255**2 / mse), abs=0.3)


def test_frames_that_are_missing_are_not_passed_over() -> None:
    with pytest.raises(InvalidInput, match="of 12 frames 11"):
        comparable(clip(12), clip(11))


def test_bits_of_a_stream_go_to_the_frames_of_their_chunks() -> None:
    codec = StepCodec()
    video = clip(10)
    (tokens,) = codec.encode([video])
    bits = stream_bits(write_tokens(tokens, codec), 10)
    sizes = [
        8 * len(PackedPrior().encode(tokens.ids[:, start : start + 4 * 3072], Span((1,), 0, 1)))
        for start in range(0, 10 * 3072, 4 * 3072)
    ]
    assert [sum(bits[:4]), sum(bits[4:8]), sum(bits[8:])] == pytest.approx(sizes)
    assert bits[0] == pytest.approx(bits[3])


# Reports.


def test_a_report_has_everything(steps: str, clips: Path, tmp_path: Path) -> None:
    need(X264)
    report = evaluate(steps, clips, qualities=[50, 20, 80], against=["x264"], report=lambda _: None)
    plain = json.loads(json.dumps(report.to_dict()))
    item = next(i for i in plain["items"] if i["name"] == "a.mkv")
    assert item["frames"] == 12
    assert {name: len(values) for name, values in item["series"].items()} == {
        "psnr": 12, "ms_ssim": 12, "bits": 12,
    }  # fmt: skip
    assert np.mean(item["series"]["psnr"]) == pytest.approx(item["quality"]["psnr"])
    assert sum(item["series"]["bits"]) < 8 * item["file_bytes"]
    assert item["rate"] == pytest.approx(8 * item["file_bytes"] / (12 * 48 * 64))
    assert [c["title"] for c in plain["curves"]] == [steps, "x264"]
    assert any(b["metric"] == "psnr" and b["percent"] is not None for b in plain["bd_rates"])
    table = report.to_table()
    assert re.search(r"encode frames/s .* decode frames/s", table)
    took = r"took [\d.]+ s to encode 10 frames \([\d,.]+ a second\), and decodes [\d,.]+ a second"
    assert re.search(rf"\* {steps} -q 50 {took}", table)
    span = r"[\d.]+ s to [\d.]+ s"
    assert re.search(rf"\* x264 took {span} to encode 10 frames \(.* to .* a second\)", table)

    write_html(report, tmp_path / "r.html")
    page = (tmp_path / "r.html").read_text()
    assert "://" not in page
    assert "&lt;b&gt;.mkv" in page
    found = re.findall(r'data-title="(.*?)"><video [^>]*src="data:video/webm;base64,(.*?)"', page)
    assert [title for title, _ in found] == ["original", f"{steps} -q 50", "x264"] * 2
    sizes = []
    for _, data in found:
        shown = Video.open(io.BytesIO(base64.b64decode(data)))
        sizes.append(shown.frames.shape)
    assert sorted(set(sizes)) == [(7, 33, 47, 3), (12, 48, 64, 3)]
    assert page.count("PSNR dB over frames") == 2
    assert page.count("bits a frame over frames") == 2


def test_two_versions_play_in_step_in_a_browser(steps: str, clips: Path, tmp_path: Path) -> None:
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        pytest.skip("no browser")
    need(X264)
    report = evaluate(steps, clips, against=["x264"], report=lambda _: None)
    write_html(report, tmp_path / "r.html")
    page = (tmp_path / "r.html").read_text()
    probe = """<script>
    addEventListener('load', () => setTimeout(() => {
      const figure = document.querySelector('figure.timed-clip');
      const on = figure.querySelectorAll('.transport button')[2];
      on.click(); on.click(); on.click();
      setTimeout(() => {
        const shown = [...figure.querySelectorAll('.players > div.a, .players > div.b')];
        document.title = JSON.stringify([
          shown.map((view) => view.dataset.title),
          shown.map((view) => view.querySelector('video').currentTime),
          shown.map((view) => view.querySelector('video').videoWidth),
          figure.querySelector('output').textContent,
        ]);
      }, 1500);
    }, 500));
    </script></body>"""
    (tmp_path / "probe.html").write_text(page.replace("</body>", probe))
    done = subprocess.run(
        [browser, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic",
         "--no-first-run", "--disable-background-networking", "--disable-component-update",
         "--disable-sync", f"--user-data-dir={tmp_path / 'profile'}",
         "--virtual-time-budget=8000", "--dump-dom", f"file://{tmp_path / 'probe.html'}"],
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    title = re.search(r"<title>(\[.*?\])</title>", done.stdout)
    assert title, done.stdout[:500]
    titles, times, widths, shown = json.loads(title[1].replace("&quot;", '"'))
    assert set(titles) == {steps, "x264"}
    assert times == pytest.approx([3.5 / 25] * 2, abs=0.02)
    assert widths[0] == widths[1] > 0
    assert shown.startswith("frame 4 of ")
