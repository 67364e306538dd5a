"""The HTML page: complete, self-contained, and safe with any file name."""

from __future__ import annotations

import base64
import html
import io
import json
import re
import shutil
import subprocess
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import pytest
from PIL import Image as Pillow

from omnicodec.codecs import Audio
from omnicodec.service.evaluate import Report, evaluate, previews, write_html


class Parsed(HTMLParser):
    """Collects all attributes, and checks that every element is closed in order."""

    VOID = ("meta", "img", "input", "br")

    def __init__(self, page: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.tags: list[str] = []
        self._open: list[str] = []
        self.feed(page)
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links += [value or "" for name, value in attrs if name in ("src", "href", "srcset")]
        if tag not in self.VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag


@pytest.fixture
def report(pictures: Path, blocks: tuple[str, str]) -> Report:
    (pictures / "a.png").rename(pictures / "<b>&.png")
    return evaluate(
        blocks[0],
        pictures,
        beside=[blocks[1]],
        qualities=[40, 10, 100],
        against=["jpeg", "webp"],
        report=lambda _: None,
    )


TITLES = [
    "original",
    "image/blocks -q 40",
    "image/blocks -q 10",
    "image/blocks -q 100",
    "image/coarse",
    "JPEG at equal size",
    "WebP at equal size",
    "tokens of image/blocks",
    "tokens of image/coarse",
]
"""The versions of a picture on that page."""


def test_page_needs_nothing_from_elsewhere(report: Report, tmp_path: Path) -> None:
    write_html(report, tmp_path / "r.html")
    page = (tmp_path / "r.html").read_text()
    assert "://" not in page
    assert not re.search(r"@import|url\(|<link|<script ", page)
    links = Parsed(page).links
    assert len(links) == len(TITLES) * 3
    assert all(link.startswith("data:image/webp;base64,") for link in links)


def test_pictures_are_the_worst_first_and_of_the_same_part(report: Report, tmp_path: Path) -> None:
    write_html(report, tmp_path / "r.html")
    page = (tmp_path / "r.html").read_text()
    names = re.findall(r"<figcaption>(.*?)<span>", page)
    assert names == [
        i.name.replace("&", "&amp;").replace("<b>", "&lt;b&gt;") for i in report.worst_first()
    ]
    sizes = []
    for link in Parsed(page).links:
        with Pillow.open(io.BytesIO(base64.b64decode(link.partition(",")[2]))) as picture:
            sizes.append(picture.size)
    for start in range(0, len(sizes), len(TITLES)):
        assert len(set(sizes[start : start + len(TITLES)])) == 1


def test_any_two_versions_can_be_chosen_and_each_has_its_figures(
    report: Report, tmp_path: Path
) -> None:
    write_html(report, tmp_path / "r.html")
    page = (tmp_path / "r.html").read_text()
    options = re.findall(r"<option( selected)?>(.*?)</option>", page)
    assert [title for _, title in options] == TITLES * 2
    chosen = [title for selected, title in options if selected]
    assert chosen == ["image/blocks -q 40", "WebP at equal size"]
    assert re.findall(r'data-title="(.*?)"', page) == TITLES * 3
    worst = report.worst_first()[0]
    views = {view.title: view.detail for view in report.previews[worst.name]}
    assert views["image/blocks -q 40"].startswith(f"{worst.file_bytes:,} bytes, ")
    assert re.fullmatch(r"quality \d+, [\d,]+ bytes, .* dB", views["JPEG at equal size"])
    assert Parsed(page).tags.count("input") == 3 + 1  # a divider each, and the scale


def test_previews_can_be_left_out(pictures: Path, blocks: tuple[str, str], tmp_path: Path) -> None:
    report = evaluate(blocks[0], pictures, previews=False, report=lambda _: None)
    assert report.previews == {}
    write_html(report, tmp_path / "r.html")
    assert "<script" not in (tmp_path / "r.html").read_text()


def test_page_has_tables_charts_and_conditions(report: Report, tmp_path: Path) -> None:
    write_html(report, tmp_path / "r.html")
    page = (tmp_path / "r.html").read_text()
    assert Parsed(page).tags.count("svg") == 2  # the pictures are too small for MS-SSIM
    for words in ("JPEG quality 1", "bits per pixel", report.fingerprint, "torch", "BD-rate, PSNR"):
        assert words in page


def test_page_of_texts_has_no_pictures(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("words " * 40)
    report = evaluate("text/bytes", tmp_path, against=["gzip"], report=lambda _: None)
    write_html(report, tmp_path / "r.html")
    parsed = Parsed((tmp_path / "r.html").read_text())
    assert "img" not in parsed.tags
    assert "svg" not in parsed.tags


def test_page_of_sounds_has_players_and_spectrograms(
    tmp_path: Path, sound: Callable[..., Audio], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(previews, "SOUND_SECONDS", 1)
    clips = {"a.wav": sound(1.4, 48_000, channels=3), "b.wav": sound(0.5, 8_000)}
    for name, clip in clips.items():
        clip.save(tmp_path / name)
    report = evaluate("audio/rvq", tmp_path, device="cpu", report=lambda _: None)
    write_html(report, tmp_path / "r.html")
    page = (tmp_path / "r.html").read_text()
    assert "://" not in page
    links = Parsed(page).links
    assert len(links) == 2 * 2 * 2
    players = {}
    for item, link in zip(
        [i.name for i in report.worst_first() for _ in range(2)],
        [link for link in links if link.startswith("data:audio/flac;base64,")],
        strict=True,
    ):
        players.setdefault(item, []).append(Audio.open(base64.b64decode(link.partition(",")[2])))
    assert {(a.sample_rate, a.samples.shape) for a in players["a.wav"]} == {(24_000, (2, 24_000))}
    original, decoded = players["b.wav"]
    assert (original.sample_rate, original.samples.shape) == (8_000, (1, 4_000))
    assert abs(original.samples - clips["b.wav"].samples).max() <= 0.51 / (1 << 15)
    assert decoded != original
    for link in (link for link in links if link.startswith("data:image/webp;base64,")):
        with Pillow.open(io.BytesIO(base64.b64decode(link.partition(",")[2]))) as picture:
            assert picture.size == (500, 246)


def test_own_rows_stand_out(report: Report, tmp_path: Path) -> None:
    write_html(report, tmp_path / "r.html")
    page = (tmp_path / "r.html").read_text()
    first, *bd_rates = page.split("<h2>BD-rates")[1].split("<table>")[1:]
    assert first.count("<tr class=own>") == 1
    compared = next(table for table in bd_rates if "encode MP/s" in table)
    assert compared.count("<tr class=own>") == 2 * 4  # tokens and files, at each setting


def test_a_browser_draws_the_divider_where_it_is_dragged(report: Report, tmp_path: Path) -> None:
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        pytest.skip("needs Chromium")
    write_html(report, tmp_path / "r.html")
    page = (tmp_path / "r.html").read_text()
    drag = """<script>
const slider = document.querySelector('.stage input'), side = document.querySelector('select');
slider.value = 25; slider.dispatchEvent(new Event('input'));
side.value = 'original'; side.dispatchEvent(new Event('change'));
const shown = [...document.querySelectorAll('.stage')].map((stage) =>
  [...stage.querySelectorAll('img')].filter((i) => i.checkVisibility()).map((i) => i.alt));
const right = document.querySelector('.view.b img'), thumb = slider.getBoundingClientRect();
document.title = JSON.stringify({shown, clip: getComputedStyle(right).clipPath,
  cover: [thumb.width - right.clientWidth, thumb.height - right.clientHeight]});
</script></body>"""
    (tmp_path / "r.html").write_text(page.replace("</body>", drag))
    options = "--headless --no-sandbox --disable-gpu --no-first-run --disable-sync --disable-quic"
    options += " --disable-background-networking --disable-component-update --dump-dom"
    profile = f"--user-data-dir={tmp_path / 'profile'}"
    done = subprocess.run(
        [browser, *options.split(), profile, (tmp_path / "r.html").as_uri()],
        capture_output=True,
        text=True,
        timeout=180,
        check=True,
    )
    title = re.search(r"<title>(.*?)</title>", done.stdout)
    assert title is not None
    found = json.loads(html.unescape(title[1]))
    assert found["shown"] == [
        [f"{item.name}, original", f"{item.name}, WebP at equal size"]
        for item in report.worst_first()
    ]
    assert found["clip"] == "inset(0px 0px 0px 25%)"
    assert max(map(abs, found["cover"])) < 1  # the slider is as large as the picture
