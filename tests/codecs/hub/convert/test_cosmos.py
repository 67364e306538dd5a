"""Cosmos's discrete tokenizers: a small network of NVIDIA's layout gives what its conversion does.

No library has these networks. The one here is written for the tests: its names and its order are
those of NVIDIA's definitions, and it is saved as they are, as TorchScript.
"""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from omnicodec.codecs import Image, InvalidInput, load
from omnicodec.codecs.hub.convert.__main__ import main
from omnicodec.codecs.hub.cosmos_fsq import CosmosConfig, load_network
from omnicodec.codecs.hub.files import Snapshot

torch = pytest.importorskip("torch")
pytest.importorskip("diffusers")
nn, F = torch.nn, torch.nn.functional

Picture = Callable[..., Image]

PATCH, LEVELS = 4, (8, 8, 8, 5, 5, 5)


def swish(x: Any) -> Any:
    return x * torch.sigmoid(x)


class Causal(nn.Module):
    """A convolution that sees no later frame: the first stands for those before it."""

    def __init__(self, before: int, after: int, kernel: Any, stride: Any = 1, pad: int = 0) -> None:
        super().__init__()
        self.conv3d = nn.Conv3d(before, after, kernel, stride)
        time = kernel if isinstance(kernel, int) else kernel[0]
        self.past = time - 1 - (0 if stride == 1 else stride[0] - 1)
        self.pad = pad

    def forward(self, x: Any) -> Any:
        x = torch.cat([x[:, :, :1]] * self.past + [x], 2)
        return self.conv3d(F.pad(x, (self.pad,) * 4))


class PerFrame(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(1, channels, eps=1e-6)

    def forward(self, x: Any) -> Any:
        return torch.stack([self.norm(frame) for frame in x.unbind(2)], 2)


def wide(before: int, after: int, video: bool) -> Any:
    if not video:
        return nn.Conv2d(before, after, 3, padding=1)
    return nn.Sequential(Causal(before, after, (1, 3, 3), pad=1), Causal(after, after, (3, 1, 1)))


def point(before: int, after: int, video: bool) -> Any:
    return Causal(before, after, 1) if video else nn.Conv2d(before, after, 1)


def norm(channels: int, video: bool) -> Any:
    return PerFrame(channels) if video else nn.GroupNorm(32, channels, eps=1e-6)


class Block(nn.Module):
    def __init__(self, before: int, after: int, video: bool) -> None:
        super().__init__()
        self.norm1, self.norm2 = norm(before, video), norm(after, video)
        self.conv1, self.conv2 = wide(before, after, video), wide(after, after, video)
        self.nin_shortcut = point(before, after, video) if before != after else nn.Identity()

    def forward(self, x: Any) -> Any:
        found = self.conv1(swish(self.norm1(x)))
        return self.nin_shortcut(x) + self.conv2(swish(self.norm2(found)))


class Attention(nn.Module):
    """Attention within a frame, or of one place along the frames up to its own."""

    def __init__(self, channels: int, video: bool, along_time: bool = False) -> None:
        super().__init__()
        self.norm, self.along_time, self.video = norm(channels, video), along_time, video
        self.q, self.k, self.v, self.proj_out = (point(channels, channels, video) for _ in range(4))

    def forward(self, x: Any) -> Any:
        found = self.norm(x)
        parts = [layer(found) for layer in (self.q, self.k, self.v)]
        if not self.video:
            found = self._attend(*(p.flatten(2) for p in parts)).reshape(x.shape)
        elif self.along_time:  # (B, H, W, C, T)
            parts = [p.permute(0, 3, 4, 1, 2) for p in parts]
            found = self._attend(*parts).permute(0, 3, 4, 1, 2)
        else:  # (B, T, C, H * W)
            parts = [p.transpose(1, 2).flatten(3) for p in parts]
            found = self._attend(*parts).transpose(1, 2).reshape(x.shape)
        return x + self.proj_out(found)

    def _attend(self, q: Any, k: Any, v: Any) -> Any:
        scores = q.mT @ k * q.shape[-2] ** -0.5
        if self.along_time:
            scores = scores + torch.full_like(scores, -torch.inf).triu(1)
        return v @ scores.softmax(-1).mT


class Down(nn.Module):
    def __init__(self, channels: int, *, space: bool, time: bool) -> None:
        super().__init__()
        self.conv1 = Causal(channels, channels, (1, 3, 3), (1, 2, 2))
        self.conv2 = Causal(channels, channels, (3, 1, 1), (2, 1, 1))
        self.conv3 = Causal(channels, channels, 1)
        self.space, self.time = space, time

    def forward(self, x: Any) -> Any:
        if self.space:
            x = F.pad(x, (0, 1, 0, 1))
            x = self.conv1(x) + F.avg_pool3d(x, (1, 2, 2))
        if self.time:
            x = torch.cat([x[:, :, :1], x], 2)
            x = self.conv2(x) + F.avg_pool3d(x, (2, 1, 1))
        return self.conv3(x) if self.space or self.time else x


class Up(nn.Module):
    def __init__(self, channels: int, *, space: bool, time: bool) -> None:
        super().__init__()
        self.conv1 = Causal(channels, channels, (3, 1, 1))
        self.conv2 = Causal(channels, channels, (1, 3, 3), pad=1)
        self.conv3 = Causal(channels, channels, 1)
        self.space, self.time = space, time

    def forward(self, x: Any) -> Any:
        if self.time:
            x = x.repeat_interleave(2, 2)[:, :, 1:] if x.shape[2] > 1 else x
            x = self.conv1(x) + x
        if self.space:
            x = x.repeat_interleave(2, 3).repeat_interleave(2, 4)
            x = self.conv2(x) + x
        return self.conv3(x) if self.space or self.time else x


class Resample2d(nn.Module):
    def __init__(self, channels: int, up: bool) -> None:
        super().__init__()
        self.up = up
        self.conv = nn.Conv2d(channels, channels, 3, 1 if up else 2, padding=1 if up else 0)

    def forward(self, x: Any) -> Any:
        if self.up:
            return self.conv(x.repeat_interleave(2, 2).repeat_interleave(2, 3))
        return self.conv(F.pad(x, (0, 1, 0, 1)))


class Wavelet(nn.Module):
    """The signs of Haar's wavelet of a square or a cube, and its inverse."""

    def __init__(self, video: bool) -> None:
        super().__init__()
        self.video, axes = video, 3 if video else 2
        self.register_buffer("wavelets", torch.tensor([0.5**0.5] * 2), persistent=False)
        signs = []
        for band in itertools.product((0, 1), repeat=axes):
            # Of pictures the width is named first, of video the time, the height and the width.
            high = band if video else band[::-1]
            places = itertools.product((0, 1), repeat=axes)
            signs += [(-1) ** sum(h * p for h, p in zip(high, at, strict=True)) for at in places]
        self.kernel = torch.tensor(signs).float().reshape(-1, 1, *(2,) * axes)

    def forward(self, x: Any) -> Any:
        if self.video:
            x = torch.cat([x[:, :, :1]] * PATCH + [x[:, :, 1:]], 2)
        conv, bands = (F.conv3d if self.video else F.conv2d), len(self.kernel)
        for _ in range(PATCH // 2):
            parts = [conv(channel, self.kernel, stride=2) for channel in x.split(1, 1)]
            x = torch.stack(parts, 2).flatten(1, 2) / bands
        return x

    def inverse(self, x: Any) -> Any:
        conv, bands = F.conv_transpose3d if self.video else F.conv_transpose2d, len(self.kernel)
        for _ in range(PATCH // 2):
            parts = x.unflatten(1, (bands, -1)).unbind(2)
            x = torch.cat([conv(part, self.kernel, stride=2) for part in parts], 1)
        return x[:, :, PATCH - 1 :] if self.video else x


class Half(nn.Module):
    """NVIDIA's encoder or decoder; `space` and `time` are how often it halves or doubles each."""

    def __init__(self, *, up: bool, video: bool, space: int, time: int, z: int) -> None:
        super().__init__()
        patched, self.is_up = 3 * PATCH ** (3 if video else 2), up
        fine = (8, 16, 16) if video else (32, 64, 64)
        widths = fine[::-1] if up else fine
        first = widths[0] if up else fine[0]
        setattr(self, ("un" if up else "") + "patcher" + ("3d" if video else ""), Wavelet(video))
        self.conv_in = wide(z if up else patched, first, video)
        self.mid, deep = nn.Module(), fine[-1]
        self.mid.block_1, self.mid.block_2 = Block(deep, deep, video), Block(deep, deep, video)
        self.mid.attn_1 = Attention(deep, video)
        if video:
            self.mid.attn_1 = nn.Sequential(self.mid.attn_1, Attention(deep, True, True))
        levels = []
        for n, (before, after) in enumerate(zip((first, *widths), widths, strict=False)):
            level = nn.Module()
            blocks = [Block(after if i else before, after, video) for i in range(1 + up)]
            level.block = nn.ModuleList(blocks)
            if size := self._resampling(n, after, video, space, time):
                setattr(level, "upsample" if up else "downsample", size)
            levels.append(level)
        # NVIDIA counts levels from the finest in both halves.
        setattr(self, "up" if up else "down", nn.ModuleList(levels[::-1] if up else levels))
        self.norm_out = norm(widths[-1], video)
        self.conv_out = wide(widths[-1], patched if up else z, video)

    def _resampling(self, n: int, width: int, video: bool, space: int, time: int) -> Any:
        if n == 2 or (not video and n >= space):
            return None
        if not video:
            return Resample2d(width, self.is_up)
        if not self.is_up:
            return Down(width, space=n < space, time=n < time)
        in_time = 0 < n < time + 1
        return Up(width, space=in_time or (n < space and space > time), time=in_time)

    def _middle(self, x: Any) -> Any:
        return self.mid.block_2(self.mid.attn_1(self.mid.block_1(x)))

    def forward(self, x: Any) -> Any:
        if not self.is_up:
            x = (self.patcher3d if hasattr(self, "patcher3d") else self.patcher)(x)
        x = self.conv_in(x)
        x = self._middle(x) if self.is_up else x
        for level in reversed(self.up) if self.is_up else self.down:
            for block in level.block:
                x = block(x)
            for name in ("upsample", "downsample"):
                x = getattr(level, name)(x) if hasattr(level, name) else x
        x = self.conv_out(swish(self.norm_out(x if self.is_up else self._middle(x))))
        if not self.is_up:
            return x
        return (self.unpatcher3d if hasattr(self, "unpatcher3d") else self.unpatcher).inverse(x)


class Cosmos(nn.Module):
    """A whole tokenizer: pixels -1..1 to indices and what is decoded of them."""

    def __init__(self, temporal: int, spatial: int) -> None:
        super().__init__()
        numbers = {
            "video": temporal > 0,
            "space": (spatial // PATCH).bit_length() - 1,
            "time": (temporal // PATCH).bit_length() - 1 if temporal else 0,
            "z": 12,
        }
        self.encoder, self.decoder = (Half(up=up, **numbers) for up in (False, True))
        self.quant_conv = point(12, len(LEVELS), temporal > 0)
        self.post_quant_conv = point(len(LEVELS), 12, temporal > 0)
        self.quantizer = nn.Module()
        self.quantizer.register_buffer("_levels", torch.tensor(LEVELS), persistent=False)

    def same(self, x: Any) -> Any:
        return x + 0

    def forward(self, x: Any) -> Any:
        z = self.quant_conv(self.encoder(x)).movedim(1, -1)
        levels = self.quantizer._levels
        half = (levels - 1) * 1.001 / 2
        offset = torch.where(levels % 2 == 0, 0.5, 0.0)
        steps = ((z + (offset / half).atanh()).tanh() * half - offset).round()
        digits = (steps + levels // 2).long()
        places = torch.tensor(np.cumprod([1, *LEVELS[:-1]]))
        vectors = (steps / (levels // 2)).movedim(-1, 1)
        return (digits * places).sum(-1), self.decoder(self.post_quant_conv(vectors))


def made(variant: str) -> Cosmos:
    torch.manual_seed(5)
    numbers = {"DI8x8": (0, 8), "DI16x16": (0, 16), "DV4x8x8": (4, 8), "DV8x8x8": (8, 8)}
    model = Cosmos(*numbers.get(variant, (8, 16))).eval()
    for layer in (model.encoder.conv_out, model.quant_conv):  # so that all levels are used
        for weight in layer.parameters():
            weight.data.mul_(3)
    return model


def saved(model: Any, file: Path) -> None:
    """Save a module as TorchScript: its tensors, and of its program one step that costs nothing."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch goes on reading and writing what it deprecates
        torch.jit.save(torch.jit.trace_module(model, {"same": torch.zeros(1)}), file)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], tuple[Path, Cosmos]]:
    """Return a function that gives the folder of a converted variant, and the network."""
    found: dict[str, tuple[Path, Cosmos]] = {}

    def make(variant: str) -> tuple[Path, Cosmos]:
        if variant not in found:
            place, model = tmp_path_factory.mktemp("cosmos"), made(variant)
            saved(model, place / "autoencoder.jit")
            assert (
                main(["cosmos", variant, f"{place / 'autoencoder.jit'}", f"{place / 'out'}"]) == 0
            )
            found[variant] = place / "out", model
        return found[variant]

    return make


@pytest.mark.parametrize("variant", ["DI8x8", "DI16x16", "DV4x8x8", "DV8x8x8", "DV8x16x16"])
def test_a_converted_network_is_the_one_that_was_published(
    folders: Callable[[str], tuple[Path, Cosmos]], variant: str
) -> None:
    folder, model = folders(variant)
    snapshot = Snapshot("cosmos", folder)
    network = load_network(snapshot, CosmosConfig.of(snapshot.config, "cosmos")).eval()
    frames = [17] if variant[1] == "V" else []
    draw = np.random.default_rng(3)
    x = torch.from_numpy(draw.uniform(-1, 1, (1, 3, *frames, 32, 48)).astype(np.float32))
    with torch.inference_mode():
        indices, pixels = model(x)
        codes = network.codes(x)
        seen = network.pixels(codes)
    assert torch.equal(codes, indices)
    assert len(codes.unique()) > 3
    assert seen.shape == x.shape
    torch.testing.assert_close(seen, pixels, atol=2e-5, rtol=1e-4)


def test_weights_in_halves_are_widened(tmp_path: Path, picture: Picture) -> None:
    model = made("DI8x8").bfloat16()
    saved(model, tmp_path / "autoencoder.jit")
    assert main(["cosmos", "DI8x8", f"{tmp_path / 'autoencoder.jit'}", f"{tmp_path / 'out'}"]) == 0
    codec = load(f"hf:{tmp_path / 'out'}", device="cpu")
    assert {each.dtype for each in codec._model.parameters()} == {torch.float32}
    assert torch.equal(codec._model.quant_conv.bias, model.quant_conv.bias.float())
    image = picture(16, 16)
    x = torch.from_numpy(image.pixels.transpose(2, 0, 1).copy())[None].float() / 127.5 - 1
    with torch.inference_mode():
        indices = model.float()(x)[0]
    assert np.array_equal(codec.encode([image])[0].ids[0], indices.flatten().numpy())


def refused(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """Return the one line with which a conversion is refused."""
    assert main(["cosmos", *map(str, arguments)]) == 3
    line = capsys.readouterr().err
    assert line.count("\n") == 1
    assert not Path(str(arguments[-1])).exists()
    return line


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda m: delattr(m.decoder.mid.block_2.conv1, "bias"), "conv1.bias is missing"),
        (lambda m: m.encoder.register_buffer("more", torch.zeros(1)), "it has encoder.more"),
        (lambda m: m.encoder.patcher.wavelets.fill_(1), "without Haar wavelets"),
        (
            lambda m: m.quantizer.register_buffer("_levels", torch.tensor([8, 8])),
            "not (12, 2, 1, 1)",
        ),
        (lambda m: m.quantizer.register_buffer("_levels", torch.tensor([-3])), "no Cosmos tok"),
        (lambda m: delattr(m, "encoder"), "encoder.conv_in.weight is not there"),
    ],
)
def test_what_is_no_cosmos_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], change: Callable[[Any], Any], said: str
) -> None:
    model = made("DI8x8")
    change(model)
    saved(model, tmp_path / "a.jit")
    assert said in refused(capsys, "DI8x8", tmp_path / "a.jit", tmp_path / "out")


def test_another_variant_is_refused(
    folders: Callable[[str], tuple[Path, Cosmos]], tmp_path: Path, capsys: Any
) -> None:
    file = folders("DV8x8x8")[0].parent / "autoencoder.jit"
    assert "no discrete Cosmos DI8x8" in refused(capsys, "DI8x8", file, tmp_path / "out")


def test_torchscript_is_refused_with_the_command_that_converts_it(tmp_path: Path) -> None:
    folder = tmp_path / "Cosmos-0.1-Tokenizer-DI16x16"
    folder.mkdir()
    (folder / "autoencoder.jit").write_bytes(b"PK")
    command = r"omnicodec\.codecs\.hub\.convert cosmos DI16x16 autoencoder\.jit converted"
    with pytest.raises(InvalidInput, match=command):
        load(f"hf:{folder}")
