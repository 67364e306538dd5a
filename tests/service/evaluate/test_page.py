"""The HTML page: complete, self-contained, and safe with any file name."""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import pytest
from PIL import Image as Pillow

from omnicodec.codecs import Audio
from omnicodec.service.evaluate import Report, evaluate, previews, write_html


class Parsed(HTMLParser):
    """Collects all attributes, and checks that every element is closed in order."""

    VOID = ("meta", "img")

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
def report(pictures: Path) -> Report:
    (pictures / "a.png").rename(pictures / "<b>&.png")
    return evaluate("image/vq", pictures, against=["jpeg"], device="cpu", report=lambda _: None)


def test_page_needs_nothing_from_elsewhere(report: Report, tmp_path: Path) -> None:
    write_html(report, tmp_path / "r.html")
    page = (tmp_path / "r.html").read_text()
    assert "://" not in page
    assert not re.search(r"@import|url\(|<script|<link", page)
    links = Parsed(page).links
    assert len(links) == 2 * 3
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
    assert sizes[0::2] == sizes[1::2]


def test_page_has_table_chart_and_conditions(report: Report, tmp_path: Path) -> None:
    write_html(report, tmp_path / "r.html")
    page = (tmp_path / "r.html").read_text()
    assert Parsed(page).tags.count("svg") == 1
    for words in ("JPEG quality 1", "bits per pixel", report.fingerprint, "torch"):
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
    assert page.count("<tr class=own>") == 2
