"""The examples of docs/datasets.md."""

from __future__ import annotations

import importlib.util
import inspect
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from omnicodec.codecs import Image
from omnicodec.service import batch
from omnicodec.service.batch.documents import Item
from omnicodec.service.batch.sources import open_source
from omnicodec.service.batch.sources.base import SourceSpec

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "scripts" / "examples"
GUIDE = ROOT / "docs" / "datasets.md"


@pytest.fixture(scope="module")
def example() -> ModuleType:
    spec = importlib.util.spec_from_file_location(
        "train_on_tokens", EXAMPLES / "train_on_tokens.py"
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_model_learns_from_pictures_and_captions(example: ModuleType, tmp_path: Path) -> None:
    arguments = ["--count", "12", "--length", "64", "--steps", "4", "--batch", "2"]
    losses = example.main(["--work", str(tmp_path), *arguments])
    assert len(losses) == 4
    assert np.isfinite(losses).all()
    assert losses[-1] < losses[0] - 0.5
    data_set = batch.open(tmp_path / "tokens")
    assert data_set.manifest.written == 12
    assert {tuple(row["ids"].shape) for row in data_set} == {(64,)}


def test_pictures_are_what_their_captions_say(example: ModuleType, tmp_path: Path) -> None:
    example.shapes(tmp_path, 6)
    captions = sorted(tmp_path.glob("*.txt"))
    assert len(captions) == 6
    for caption in captions:
        _, colour, shape, _, _, ground, _ = caption.read_text().split()
        picture = Image.open(caption.with_suffix(".png"))
        middle = picture.pixels[picture.height // 2, picture.width // 2]
        assert tuple(middle) == example.COLOURS[colour]
        assert tuple(picture.pixels[0, 0]) == example.COLOURS[ground]
        assert shape in example.SHAPES


def test_the_guide_shows_the_loop_as_it_is(example: ModuleType) -> None:
    assert inspect.getsource(example.train) in GUIDE.read_text()


def test_the_guides_documents_are_read(tmp_path: Path) -> None:
    lines = GUIDE.read_text().partition("```json\n")[2].partition("```")[0]
    assert lines.count("\n") == 3
    (tmp_path / "a.jsonl").write_text(lines)
    Image(np.zeros((4, 4, 3), np.uint8)).save(tmp_path / "1.jpg")
    source = open_source(SourceSpec(location=str(tmp_path / "a.jsonl")), 0)
    items = [item for piece in source.slices(10, 1 << 20) for item in source.read(piece)]
    assert [type(item) for item in items] == [Item] * 3
    for item in items:
        assert isinstance(item, Item)
        assert [part.modality for part in item.parts] == ["text", "image", "text"]
        assert [part.read() for part in item.parts[::2]] == [b"A walk.", b"Then rain."]
