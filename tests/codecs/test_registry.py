"""Codecs by name."""

from __future__ import annotations

import re

import pytest

from omnicodec.codecs import (
    MODALITIES,
    InvalidInput,
    UnknownCodec,
    available,
    default_codec,
    describe,
    load,
)


@pytest.mark.parametrize("name", available())
def test_every_codec_describes_itself(name: str) -> None:
    spec = describe(name)
    assert spec.name == name
    assert spec.modality == name.split("/")[0]
    assert spec.modality in MODALITIES
    assert re.fullmatch(r"[0-9a-f]{16}", spec.fingerprint)
    assert spec.codebook_sizes
    assert min(spec.codebook_sizes) > 1
    assert spec.summary
    codec = load(name)
    assert codec.spec == spec
    assert re.fullmatch(r"[0-9a-f]{16}", codec.prior.fingerprint)


def test_the_codecs_of_this_release() -> None:
    assert {"image/vq", "text/bytes"} <= set(available())


def test_versions() -> None:
    version = describe("text/bytes").version
    assert load(f"text/bytes@{version}") is load("text/bytes")
    with pytest.raises(UnknownCodec, match="is here in version"):
        load("text/bytes@99")


@pytest.mark.parametrize("name", ["", "text", "text/", "text/nothing", "../vq", "image/__init__"])
def test_unknown_names(name: str) -> None:
    with pytest.raises(UnknownCodec, match="known: .*image/vq"):
        load(name)


def test_defaults_exist() -> None:
    for modality in ("image", "text"):
        assert default_codec(modality) in available()
    with pytest.raises(UnknownCodec):
        default_codec("smell")


def test_devices() -> None:
    assert load("image/vq", device="cpu") is load("image/vq", device="cpu")
    with pytest.raises(InvalidInput, match="unknown device"):
        load("image/vq", device="toaster")
