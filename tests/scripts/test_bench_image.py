"""The benchmark of pictures, on little pictures and a codec without a network."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

from omnicodec.codecs import Image, InvalidInput, load
from omnicodec.codecs.codec import Mask
from omnicodec.codecs.prior import Span
from omnicodec.codecs.tokens import Tokens

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"


def benches(name: str) -> ModuleType:
    return importlib.import_module(f"benches.{name}")


@pytest.fixture(autouse=True)
def _path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(SCRIPTS)


@pytest.fixture
def photos() -> dict[str, Image]:
    rng = np.random.default_rng(0)
    y, x = np.mgrid[0:40, 0:56]
    waves = 128 + 90 * np.sin(x / 7) * np.cos(y / 9)
    return {
        name: Image(
            (waves[..., None] + rng.normal(0, 9, (40, 56, 3))).clip(0, 255).astype(np.uint8)
        )
        for name in ("a.png", "b.png")
    }


def test_all_parts_end_in_one_json(
    photos: dict[str, Image],
    blocks: tuple[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name, image in photos.items():
        image.save(tmp_path / name)
    monkeypatch.setattr(benches("image"), "pictures", lambda *_: list(photos.values()))
    monkeypatch.setattr(benches("image"), "EFFORT_QUALITIES", (10, 40, 100))
    hour: dict[str, Any] = {
        "codec": "x",
        "width": 6000,
        "height": 4000,
        "steps": {"compress": {"peak_mb": 900.0, "seconds": 20.0, "mp_s": 1.2}},
    }
    monkeypatch.setattr(benches("image").image_memory, "memory", lambda *_: hour)
    monkeypatch.setattr(benches("image"), "_weights", lambda _: {"model.safetensors": 1_500_000})
    out = tmp_path / "results" / "image.json"
    words = ["--codecs", f"{blocks[0]},image/none,{blocks[1]}", "--qualities", "40,10,33,70,100"]
    words += ["--against", "jpeg", "--out", str(out), "--device", "cpu"]
    monkeypatch.setattr(sys, "argv", ["scripts/bench.py", "image", str(tmp_path), *words])
    importlib.import_module("bench").main()
    told = capsys.readouterr()
    assert "left out image/none" in told.err
    figures = json.loads(out.read_text())
    evaluation = figures["evaluation"]
    assert (evaluation["codec"], evaluation["quality"]) == (blocks[0], 40)
    assert [other["quality"] for other in evaluation["others"]] == [10, 70, 100]
    assert evaluation["rates"] == [0.1, 1.0]
    for part in ("speed", "prior", "missing", "weights"):
        assert list(figures[part]) == list(blocks), part
    assert list(figures["efforts"]) == ["fast", "best"]
    assert figures["efforts"]["best"]["bd_rate"]["psnr"] < 0
    assert figures["memory"] == hour
    assert figures["vq16"] is None
    for metric in ("psnr", "haarpsi"):
        root = ElementTree.parse(out.with_name(f"image-{metric}.svg")).getroot()
        assert root.tag.endswith("svg")
    for words_ in ("20 % of tokens lost", "saved %", "peak MB", "effort, 256x256", "1.5 MB"):
        assert words_ in told.out


def test_bits_saved_are_those_of_chunks(photos: dict[str, Image], blocks: tuple[str, str]) -> None:
    codec = load(blocks[0])
    found = benches("_image_parts").prior(codec, photos, 40)
    tokens = codec.encode(list(photos.values()), quality=40)
    pixels = 2 * 40 * 56
    assert found["raw_bpp"] == sum(map(codec.token_bits, tokens)) / pixels
    spans = [Span(t.grid, 0, len(t)) for t in tokens]
    payloads = [codec.prior.encode(t.ids, s) for t, s in zip(tokens, spans, strict=True)]
    assert found["coded_bpp"] == 8 * sum(map(len, payloads)) / pixels


def test_efforts_of_a_tokenizer(photos: dict[str, Image], blocks: tuple[str, str]) -> None:
    found = benches("_image_parts").searched(load(blocks[0]), photos)
    assert list(found) == ["fast", "best"]
    assert found["best"]["psnr"] != found["fast"]["psnr"]
    assert found["best"]["seconds"] > 0


def test_a_fifth_of_the_tokens_is_lost(
    photos: dict[str, Image], blocks: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    codec = load(blocks[1])
    masks: list[Mask] = []
    decode = type(codec)._decode

    def with_loss(self: Any, tokens: Tokens, missing: Mask | None) -> Image:
        if missing is not None:
            masks.append(missing)
            tokens.ids[:, missing] = 0
        return decode(self, tokens, None)

    monkeypatch.setattr(type(codec), "_decode", with_loss)
    found = benches("_image_parts").losses(codec, photos, None)
    assert [mask.sum() for mask in masks] == [28] * 4  # of 10 x 14
    starts = [int(np.argmax(mask)) for mask in masks[1::2]]
    assert all(mask[s : s + 28].all() for mask, s in zip(masks[1::2], starts, strict=True))
    assert not all(m[np.argmax(m) :][:28].all() for m in masks[::2])
    assert found["lost_db"]["random"] == found["psnr"]["all"] - found["psnr"]["random"] > 0


def test_large_photographs_are_always_the_same_and_nowhere_flat() -> None:
    photograph = benches("image_memory").photograph
    image = photograph(1000, 900)
    assert (image.width, image.height) == (1000, 900)
    assert image == photograph(1000, 900)
    assert all(p.std() > 10 for half in np.split(image.pixels, 2) for p in np.split(half, 2, 1))


def test_no_codec_at_all() -> None:
    lines: list[str] = []
    with pytest.raises(InvalidInput, match="none of image/none, image/no is there"):
        benches("image")._known(["image/none", "image/no"], lines.append)
    assert len(lines) == 2
