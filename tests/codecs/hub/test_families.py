"""Families: every row of the table holds, and what is in none gets an error that lists them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from omnicodec.codecs import InvalidInput, load
from omnicodec.codecs.hub.families import FAMILIES, Family, family_of
from omnicodec.codecs.hub.hub_codec import HubCodec


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.title)
def test_every_family_has_an_adapter(family: Family) -> None:
    adapter = family.adapter()
    assert issubclass(adapter, HubCodec)
    assert not adapter.__abstractmethods__
    assert adapter.citation
    assert family.values or family.files
    assert f"from {family.library.rpartition('.')[0]} import" in family.convert("x")


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.title)
def test_a_configuration_leads_to_its_family(family: Family, tmp_path: Path) -> None:
    for value in family.values:
        assert family_of({family.key: value}, tmp_path) is family
    for name in family.files:
        (tmp_path / name).write_text("{}")
    assert not family.files or family_of({}, tmp_path) is family


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"model_type": "abacus"}, "model_type 'abacus'"),
        ({"_class_name": "Abacus"}, "_class_name 'Abacus'"),
        ({}, "names none"),
        ({"model_type": ["encodec"]}, "model_type"),
    ],
)
def test_an_unknown_family_is_told_which_are_known(
    tmp_path: Path, config: dict[str, object], said: str
) -> None:
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(InvalidInput) as caught:
        load(f"hf:{tmp_path}")
    line = str(caught.value)
    assert said in line
    assert "\n" not in line
    for family in FAMILIES:
        assert family.title in line


def test_a_codec_goes_before_the_tokenizer_beside_it(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_text("{}")
    assert family_of({"model_type": "emu3"}, tmp_path).title == "Emu3"


@pytest.mark.parametrize(
    ("place", "config", "files", "said"),
    [
        ("vae", {"_class_name": "AutoencoderKLWan"}, (), "AutoencoderKLWan is another network"),
        ("x", {}, ("vq_ds16_c2i.pt",), "LlamaGen's tokenizers are pickles"),
        ("x", {}, ("encoder.jit", "decoder.jit"), "Cosmos tokenizers are TorchScript"),
        ("models--nvidia--Cosmos-Tokenizer-DI8x8/snapshots/0a", {}, (), "Cosmos tokenizers are"),
        ("x", {"model_type": "llama"}, ("tokenizer.model",), "in tokenizer.model without a token"),
    ],
)
def test_what_is_not_supported_yet(
    tmp_path: Path, place: str, config: dict[str, str], files: tuple[str, ...], said: str
) -> None:
    folder = tmp_path / place
    folder.mkdir(parents=True)
    if config:
        (folder / "config.json").write_text(json.dumps(config))
    for name in files:
        (folder / name).write_bytes(b"\x80")
    with pytest.raises(InvalidInput, match="is not supported yet: ") as caught:
        load(f"hf:{folder}")
    line = str(caught.value)
    assert said in line
    assert all(family.title in line for family in FAMILIES)


def test_nothing_heavy_is_imported_before_a_codec_is_opened() -> None:
    code = (
        "import sys; from omnicodec import codecs; import omnicodec.codecs.hub.opening; "
        "codecs.available(); codecs.describe('image/vq'); "
        "heavy = {'torch', 'transformers', 'diffusers', 'huggingface_hub', 'grpc'}; "
        "print(sorted(heavy & set(sys.modules)))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"
