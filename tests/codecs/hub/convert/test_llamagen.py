"""Conversion: what the networks of the original layouts give, the converted folders give."""

from __future__ import annotations

import argparse
import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from omnicodec.codecs import Image, InvalidInput, load
from omnicodec.codecs.hub.convert.__main__ import main

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")
nn, F = torch.nn, torch.nn.functional

Picture = Callable[..., Image]


class Norm(nn.GroupNorm):
    def __init__(self, channels: int) -> None:
        super().__init__(32, channels, eps=1e-6)


class Res(nn.Module):
    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = Norm(before), Norm(after)
        self.conv1, self.conv2 = nn.Conv2d(before, after, 3, 1, 1), nn.Conv2d(after, after, 3, 1, 1)
        if before != after:
            self.nin_shortcut = nn.Conv2d(before, after, 1)

    def forward(self, x: Any) -> Any:
        found = self.norm1(x)
        found = self.conv1(found * torch.sigmoid(found))
        found = self.norm2(found)
        found = self.conv2(found * torch.sigmoid(found))
        return found + (self.nin_shortcut(x) if hasattr(self, "nin_shortcut") else x)


class Attention(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = Norm(channels)
        self.q, self.k, self.v, self.proj_out = (nn.Conv2d(channels, channels, 1) for _ in range(4))

    def forward(self, x: Any) -> Any:
        normed = self.norm(x)
        q, k, v = (layer(normed).flatten(2) for layer in (self.q, self.k, self.v))
        weights = (q.transpose(1, 2) @ k * q.shape[1] ** -0.5).softmax(2)
        return x + self.proj_out((v @ weights.transpose(1, 2)).reshape(x.shape))


class Resample(nn.Module):
    def __init__(self, channels: int, up: bool) -> None:
        super().__init__()
        self.up = up
        self.conv = nn.Conv2d(channels, channels, 3, 1 if up else 2, 1 if up else 0)

    def forward(self, x: Any) -> Any:
        if self.up:
            return self.conv(F.interpolate(x, scale_factor=2.0, mode="nearest"))
        return self.conv(F.pad(x, (0, 1, 0, 1)))


def middle(channels: int) -> Any:
    return nn.ModuleList([Res(channels, channels), Attention(channels), Res(channels, channels)])


def level(before: int, after: int, *, blocks: int, last: bool) -> Any:
    """Return a level, of which LlamaGen's coarsest has attention behind each block."""
    found = nn.Module()
    found.res = nn.ModuleList(Res(before if n == 0 else after, after) for n in range(blocks))
    found.attn = nn.ModuleList(Attention(after) for _ in range(blocks if last else 0))
    return found


def run(found: Any, x: Any) -> Any:
    for n, block in enumerate(found.res):
        x = block(x)
        if found.attn:
            x = found.attn[n](x)
    return x


class Half(nn.Module):
    """The encoder or the decoder of LlamaGen's VQ, with its names."""

    def __init__(self, *, up: bool, base: int, multiples: list[int], blocks: int, z: int) -> None:
        super().__init__()
        widths = [base * m for m in multiples]
        # Coarse to fine for the decoder.
        order = widths[::-1] if up else widths
        first, self.up = (order[0] if up else base), up
        self.conv_in = nn.Conv2d(z if up else 3, first, 3, 1, 1)
        self.mid = middle(widths[-1])
        self.conv_blocks = nn.ModuleList()
        for n, (before, after) in enumerate(zip([first, *order], order, strict=False)):
            coarse = n == (0 if up else len(order) - 1)
            found = level(before, after, blocks=blocks + up, last=coarse)
            if n < len(order) - 1:
                setattr(found, "upsample" if up else "downsample", Resample(after, up))
            self.conv_blocks.append(found)
        self.norm_out = Norm(order[-1])
        self.conv_out = nn.Conv2d(order[-1], 3 if up else z, 3, 1, 1)

    def _middle(self, x: Any) -> Any:
        for block in self.mid:
            x = block(x)
        return x

    def forward(self, x: Any) -> Any:
        x = self.conv_in(x)
        x = self._middle(x) if self.up else x
        for n, found in enumerate(self.conv_blocks):
            x = run(found, x)
            if n < len(self.conv_blocks) - 1:
                x = (found.upsample if self.up else found.downsample)(x)
        x = self.norm_out(x if self.up else self._middle(x))
        return self.conv_out(x * torch.sigmoid(x))


class LlamaGen(nn.Module):
    """LlamaGen's VQ as its paper and its names have it, in a few lines of our own."""

    def __init__(self, multiples: list[int]) -> None:
        super().__init__()
        numbers = {"base": 32, "multiples": multiples, "blocks": 1, "z": 16}
        self.encoder, self.decoder = (Half(up=up, **numbers) for up in (False, True))
        self.quant_conv, self.post_quant_conv = nn.Conv2d(16, 8, 1), nn.Conv2d(8, 16, 1)
        self.quantize = nn.Module()
        self.quantize.embedding = nn.Embedding(64, 8)
        self.quantize.register_buffer("codebook_used", torch.zeros(100))

    def entries(self) -> Any:
        return F.normalize(self.quantize.embedding.weight, dim=-1)

    def codes(self, pixels: Any) -> Any:
        z = self.quant_conv(self.encoder(pixels)).permute(0, 2, 3, 1)
        z = F.normalize(z.reshape(-1, 8), dim=-1)
        return torch.cdist(z.double(), self.entries().double()).argmin(1)

    def pixels(self, codes: Any) -> Any:
        return self.decoder(self.post_quant_conv(self.entries()[codes].permute(0, 3, 1, 2)))


def llamagen(multiples: list[int]) -> LlamaGen:
    torch.manual_seed(11)
    model = LlamaGen(multiples).eval()
    # So that entries and latents are of many lengths, and normalising them matters.
    for layer in (model.quant_conv, model.quantize.embedding, model.encoder.conv_out):
        layer.weight.data.normal_(std=0.5)
    return model


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[int, tuple[Path, LlamaGen]]:
    """Return by pixels a token the folder of a converted network, and the network."""
    found = {}
    for pixels, multiples in ((2, [1, 2]), (4, [1, 1, 2])):
        place = tmp_path_factory.mktemp("llamagen")
        model = llamagen(multiples)
        torch.save({"model": model.state_dict()}, place / "vq.pt")
        assert main(["llamagen", f"{place / 'vq.pt'}", f"{place / 'out'}", "--licence", "mit"]) == 0
        found[pixels] = (place / "out", model)
    return found


@pytest.mark.parametrize("pixels", [2, 4])
def test_codes_and_pictures_are_llamagens(
    folders: dict[int, tuple[Path, LlamaGen]], pixels: int, picture: Picture
) -> None:
    folder, model = folders[pixels]
    codec = load(f"hf:{folder}", device="cpu")
    assert codec.spec.covers == {"height": pixels, "width": pixels}
    assert codec.spec.codebook_sizes == (64,)
    assert codec.spec.licence == "mit"
    image = picture(24, 16)
    tokens = codec.encode([image])[0]
    x = torch.from_numpy(image.pixels.transpose(2, 0, 1).copy())[None] / 127.5 - 1
    with torch.inference_mode():
        codes = model.codes(x).reshape(tokens.grid)
        seen = model.pixels(codes[None])[0]
    assert np.array_equal(tokens.ids[0], codes.flatten().numpy())
    assert len(set(tokens.ids[0])) > 8
    expected = ((seen + 1) * 127.5).round().clamp(0, 255).byte().permute(1, 2, 0).numpy()
    # A value in the middle of two bytes may be rounded either way.
    difference = np.abs(codec.decode([tokens])[0].pixels.astype(int) - expected.astype(int))
    assert difference.max() <= 1
    assert (difference > 0).mean() < 0.01


def test_janus_would_choose_other_codes(
    folders: dict[int, tuple[Path, LlamaGen]], tmp_path: Path, picture: Picture
) -> None:
    folder, _ = folders[2]
    for file in folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    config = json.loads((folder / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, "model_type": "janus_vqgan"}))
    image = picture(16, 16)
    ours, janus = (
        load(f"hf:{each}", device="cpu").encode([image])[0] for each in (folder, tmp_path)
    )
    assert not np.array_equal(ours.ids, janus.ids)


def test_a_checkpoint_of_the_training_converts(tmp_path: Path) -> None:
    model, other = llamagen([1, 2]), llamagen([1, 2])
    other.quant_conv.weight.data.zero_()
    held = {"model": other.state_dict(), "ema": model.state_dict(), "steps": 9}
    torch.save({**held, "args": argparse.Namespace(lr=0.1)}, tmp_path / "vq.pt")
    assert main(["llamagen", f"{tmp_path / 'vq.pt'}", f"{tmp_path / 'out'}"]) == 0
    codec = load(f"hf:{tmp_path / 'out'}", device="cpu")
    assert torch.equal(codec._model.quant_conv.weight, model.quant_conv.weight)
    assert codec.spec.licence == "not stated"


class Hostile:
    def __reduce__(self) -> Any:
        return Path.touch, (Path("ran"),)


ATTENTION = "encoder.conv_blocks.0.attn.0.q.bias"


def state(without: str = "") -> dict[str, Any]:
    return {k: v for k, v in llamagen([1, 2]).state_dict().items() if k != without}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (Hostile(), "no archive of tensors alone"),
        ({"model": {"encoder.conv_in.weight": Hostile()}}, "no archive of tensors alone"),
        ({"weights": {}}, "no weights under"),
        ({"model": {}}, r"encoder\.conv_in\.weight is not there"),
        ({"model": {"encoder.conv_in.weight": 3}}, "no weights under"),
        ([1], "no weights under"),
        ({"model": state("decoder.mid.1.q.bias")}, r"decoder\.mid\.attn_1\.q\.bias is missing"),
        ({"model": {**state(), "quant_conv.bias": torch.zeros(9)}}, r"is \(9,\), not \(8,\)"),
        ({"model": {**state(), ATTENTION: torch.zeros(8)}}, r"it has encoder\.down\.0\.attn"),
        ({"model": {**state(), "encoder.conv_in.weight": torch.zeros(0)}}, "no checkpoint of"),
    ],
)
def test_what_is_no_llamagen_is_refused(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    content: Any,
    said: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save(content, tmp_path / "vq.pt")
    assert main(["llamagen", "vq.pt", "out"]) == 3
    line = capsys.readouterr().err
    assert line.count("\n") == 1
    with pytest.raises(InvalidInput, match=said):
        raise InvalidInput(line)
    assert not (tmp_path / "ran").exists()
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"\x80\x02."])
def test_what_is_no_archive_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: bytes
) -> None:
    (tmp_path / "vq.pt").write_bytes(content)
    assert main(["llamagen", f"{tmp_path / 'vq.pt'}", f"{tmp_path / 'out'}"]) == 3
    assert "is no archive of tensors alone" in capsys.readouterr().err
    assert main(["llamagen", f"{tmp_path / 'none.pt'}", f"{tmp_path / 'out'}"]) == 3
    assert "cannot read" in capsys.readouterr().err


def test_an_old_pickle_runs_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "vq.pt").write_bytes(pickle.dumps(Hostile()))
    assert main(["llamagen", "vq.pt", "out"]) == 3
    assert not (tmp_path / "ran").exists()


def test_nothing_is_written_over(
    folders: dict[int, tuple[Path, LlamaGen]], capsys: pytest.CaptureFixture[str]
) -> None:
    folder, _ = folders[2]
    before = (folder / "config.json").read_bytes()
    assert main(["llamagen", f"{folder.parent / 'vq.pt'}", f"{folder}"]) == 3
    assert "cannot make the folder" in capsys.readouterr().err
    assert (folder / "config.json").read_bytes() == before


def test_a_licence_is_one_name(
    folders: dict[int, tuple[Path, LlamaGen]], capsys: pytest.CaptureFixture[str]
) -> None:
    file = folders[2][0].parent / "vq.pt"
    assert main(["llamagen", f"{file}", f"{file.parent / 'new'}", "--licence", "a\nb: c"]) == 3
    assert "is no name of a licence" in capsys.readouterr().err


def test_a_pickle_is_refused_with_the_command_that_converts_it(tmp_path: Path) -> None:
    (tmp_path / "vq_ds8_c2i.pt").write_bytes(b"\x80")
    command = r"omnicodec\.codecs\.hub\.convert llamagen vq_ds8_c2i\.pt converted"
    with pytest.raises(InvalidInput, match=command):
        load(f"hf:{tmp_path}")
