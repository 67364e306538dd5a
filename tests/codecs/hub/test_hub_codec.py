"""What all adapters share: opening, names that are trusted or not, priors, and errors."""

from __future__ import annotations

import io
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from omnicodec.codecs import (
    Audio,
    FingerprintMismatch,
    InvalidInput,
    Tokens,
    Unavailable,
    UnknownCodec,
    Vocabulary,
    describe,
    load,
    registry,
)
from omnicodec.codecs.hub import opening
from omnicodec.codecs.hub.prior import prior_files, save_prior
from omnicodec.codecs.prior import StaticPrior
from omnicodec.codecs.stream.omc import read_tokens, write_tokens

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

Sound = Callable[..., Audio]


@pytest.fixture
def folder(mono_encodec: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a copy of a codec's folder; what is opened of it is forgotten."""
    for table in ("_found", "_opened", "_by_name"):
        monkeypatch.setattr(opening, table, dict(getattr(opening, table)))
    return Path(shutil.copytree(mono_encodec, tmp_path / "mine"))


def test_the_spec_is_known_without_the_network(mono_encodec: Path) -> None:
    spec = describe(f"hf:{mono_encodec}")
    assert spec.name == "hf:small-encodec"
    assert spec.modality == "audio"
    assert spec.licence == "mit"
    assert spec.codebook_sizes == (64,) * 4
    assert spec.qualities == (2, 4)
    assert spec.covers == {"seconds": 0.001, "channels": 1}
    assert load(f"hf:{mono_encodec}", device="cpu").spec == spec
    assert load(mono_encodec, device="cpu").spec == spec  # a path opens it as well


def test_the_same_files_are_opened_once(folder: Path) -> None:
    codec = load(f"hf:{folder}", device="cpu")
    assert load(f"hf:{folder}", device="cpu") is codec
    assert load(folder, device="cpu") is codec
    (folder / "README.md").write_text("---\nlicense: other\n---\n")
    again = load(f"hf:{folder}", device="cpu")
    assert again is not codec
    assert again.spec.licence == "other"
    assert again.spec.fingerprint == codec.spec.fingerprint


def test_names_of_strangers_open_nothing(folder: Path) -> None:
    name = f"hf:{folder}"
    for ask in (registry.load_named, registry.describe_named):
        with pytest.raises(UnknownCodec, match="not open here"):
            ask(name)
    assert "hf:mine" not in registry.opened()
    codec = load(name, device="cpu")
    assert registry.opened().count("hf:mine") == 1
    assert registry.load_named("hf:mine", device="cpu") is codec
    assert registry.describe_named("hf:mine") is codec.spec
    assert registry.load_named("text/bytes").spec.name == "text/bytes"
    with pytest.raises(UnknownCodec, match="not open here"):
        registry.load_named(name, device="cpu")  # a path is no name, even of what is open


def test_streams_and_archives_name_what_is_open(folder: Path, sound: Sound) -> None:
    codec = load(f"hf:{folder}", device="cpu")
    tokens = codec.encode([sound(900, 8000)])[0]
    stream = write_tokens(tokens, codec)
    assert read_tokens(stream, device="cpu").tokens == tokens
    opening._by_name.pop("hf:mine")
    with pytest.raises(UnknownCodec, match="hf:mine is a published codec that is not open here"):
        read_tokens(stream, device="cpu")
    assert read_tokens(stream, codec=codec).tokens == tokens
    archive = io.BytesIO()
    tokens.save(archive)
    assert Tokens.load(archive.getvalue()) == tokens


def test_vocabularies_hold_them(folder: Path, sound: Sound) -> None:
    codec = load(f"hf:{folder}", device="cpu")
    tokens = codec.encode([sound(500, 11025, 2)])[0]
    for pattern in ("flat", "delay", "parallel"):
        words = Vocabulary.build(["text/bytes", codec.spec], pattern)
        assert words.unpack(words.pack([tokens])) == [tokens]


def test_streams_of_an_earlier_prior_stay_readable(folder: Path, sound: Sound) -> None:
    codec = load(f"hf:{folder}", device="cpu")
    tokens = codec.encode([sound(4000, 8000)])[0]
    before = write_tokens(tokens, codec)
    counts = [[np.bincount(row, minlength=64)] for row in tokens.ids]
    save_prior(codec.spec.fingerprint, StaticPrior.train(counts))
    try:
        measured = load(f"hf:{folder}", device="cpu")
        assert measured.spec.prior != codec.spec.prior
        assert measured.spec.fingerprint == codec.spec.fingerprint
        after = write_tokens(tokens, measured)
        assert len(after) < len(before)
        for stream in (before, after):
            for own in (None, measured):
                assert read_tokens(stream, codec=own, device="cpu").tokens == tokens
    finally:
        for file in prior_files(codec.spec.fingerprint):
            file.unlink()
    with pytest.raises(FingerprintMismatch, match="another prior"):
        read_tokens(after, codec=load(f"hf:{folder}", device="cpu"))


def test_lost_positions_are_filled_with_those_before(folder: Path, sound: Sound) -> None:
    codec = load(f"hf:{folder}", device="cpu")
    tokens = codec.encode([sound(900, 8000)])[0]
    lost = np.zeros(len(tokens), np.bool_)
    lost[40:43] = True
    ids = tokens.ids.copy()
    ids[:, 40:43] = ids[:, 39:40]
    filled = Tokens(tokens.codec, tokens.fingerprint, ids, tokens.grid, tokens.extent)
    assert codec.decode([tokens], missing=[lost]) == codec.decode([filled])
    assert codec.decode([tokens], missing=[np.ones(len(tokens), np.bool_)])[0].samples.size == 900


def change_tensor(folder: Path, change: Callable[[dict[str, torch.Tensor]], object]) -> None:
    from safetensors.torch import load_file, save_file

    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


NAME = "decoder.layers.0.conv.bias"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda t: t.pop(NAME), f"do not match its configuration: {NAME} is missing"),
        (lambda t: t.clear() or t.update(a=torch.zeros(1)), r"is missing, and \d+ more"),
        (lambda t: t.update({NAME: torch.zeros(3)}), rf"{NAME} is \(3,\), not \(16,\)"),
    ],
)
def test_weights_that_do_not_match(
    folder: Path, change: Callable[[dict[str, torch.Tensor]], object], said: str
) -> None:
    change_tensor(folder, change)
    with pytest.raises(InvalidInput, match=said) as caught:
        load(f"hf:{folder}", device="cpu")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ('"codebook_size": 64', '"codebook_size": "many"', "hf:mine cannot be opened: "),
        ('"codebook_size": 64', '"codebook_size": 65', "hf:mine cannot be opened: .*power of 2"),
        ('"chunk_length_s": null', '"chunk_length_s": 1.0', "a chunk_length_s but no overlap"),
        ('"audio_channels": 1', '"audio_channels": 2', "do not match its configuration"),
    ],
)
def test_configurations_that_make_no_sense(
    folder: Path, before: str, after: str, said: str
) -> None:
    config = (folder / "config.json").read_text()
    assert before in config
    (folder / "config.json").write_text(config.replace(before, after))
    with pytest.raises(InvalidInput, match=said) as caught:
        load(f"hf:{folder}", device="cpu")
    assert "\n" not in str(caught.value)


def test_a_library_that_is_not_there_is_named(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(Unavailable, match=r'hf:mine needs: pip install "omnicodec\[hub\]"'):
        load(f"hf:{folder}", device="cpu")


def test_a_codec_that_cannot_be_opened_harms_no_other(folder: Path, mono_encodec: Path) -> None:
    change_tensor(folder, lambda t: t.pop(NAME))
    with pytest.raises(InvalidInput):
        load(f"hf:{folder}", device="cpu")
    assert "hf:mine" not in registry.opened()
    assert load(f"hf:{mono_encodec}", device="cpu").spec.name in registry.opened()


def test_tokens_of_codebooks_that_are_not_used_are_refused(folder: Path, sound: Sound) -> None:
    codec = load(f"hf:{folder}", device="cpu")
    tokens = codec.encode([sound(80, 8000)], quality=2)[0]
    assert codec.token_bits(tokens) == len(tokens) * 2 * 6
    for key, value in (("codebooks", 3), ("channels", 0), ("rate", 0), ("samples", -1)):
        extent = {**tokens.extent, key: value}
        wrong = Tokens(tokens.codec, tokens.fingerprint, tokens.ids, tokens.grid, extent)
        with pytest.raises(InvalidInput):
            codec.decode([wrong])
    with pytest.raises(InvalidInput, match="has no quality 3; known: 2, 4"):
        codec.encode([sound(80, 8000)], quality=3)
