"""The examples of docs/vocabulary.md, run one after the other, and what their comments say."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from omnicodec.codecs import Vocabulary

from .documents import IMAGE, TEXT, make

DOCS = Path(__file__).parents[3] / "docs"


def test_the_examples_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    pytest.importorskip("transformers")
    examples = re.findall(r"```python\n(.*?)```", (DOCS / "vocabulary.md").read_text(), re.DOTALL)
    assert len(examples) == 8
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {"__name__": "example"}
    for example in examples:
        exec(compile(example, "vocabulary.md", "exec"), names)
    ours = names["vocabulary"]
    lines = "".join(examples).splitlines()
    told = next(line for line in lines if line.startswith("# position"))
    assert capsys.readouterr().out.splitlines() == [told.removeprefix("# ")]
    assert ours.id_range("image/vq") == range(34336, 99872)
    assert ours.special_tokens["<|image|>"] == 34080
    written = {path.name for path in tmp_path.iterdir()}
    assert written >= {"vocabulary.json", "vocabulary.tokenizer.json", "tokenizer.json"}


def test_the_size_of_a_picture_is_spelled_as_shown() -> None:
    ours = Vocabulary.build([TEXT, IMAGE])
    ids = ours.pack([make(IMAGE, (32, 2), {"height": 500, "width": 30})])
    spelled = " ".join(ours.name_of(int(token)) for token in ids[1:-65])
    assert f"`{spelled}`" in (DOCS / "vocabulary.md").read_text()
