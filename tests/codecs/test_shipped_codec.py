"""Codecs of weights: what ships is what its folder holds, and other folders are told apart."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from omnicodec.codecs import InvalidInput, available, describe, load, registry
from omnicodec.codecs.shipped_codec import ShippedCodec
from omnicodec.models import weights


def shipped() -> list[str]:
    for name in available():
        describe(name)  # which makes its class known
    return [name for name in available() if issubclass(registry._classes[name], ShippedCodec)]


@pytest.mark.parametrize("name", shipped())
def test_a_folder_of_weights_is_a_codec(name: str, tmp_path: Path) -> None:
    cls = registry._classes[name]
    codec = cls.from_folder(weights.folder(name), device="cpu")
    assert type(codec) is cls
    assert codec.spec == load(name, device="cpu").spec == describe(name)
    assert codec.spec.name == name
    for content in (None, {}, {"codec": name, "version": 1}):
        if content is not None:
            (tmp_path / "config.json").write_text(json.dumps(content))
        with pytest.raises(InvalidInput, match=f"holds no {name}: "):
            cls.from_folder(tmp_path)


def test_these_codecs_are_made_of_weights() -> None:
    expected = {"image/inr", "image/rate", "image/vq", "image/vq8", "text/bpe", "video/inr"}
    assert set(shipped()) == expected
