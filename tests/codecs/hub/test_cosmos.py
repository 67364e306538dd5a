"""AutoencoderKLCosmos: values and frames are those of diffusers, in chunks and tiles too."""

from __future__ import annotations

import json
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from omnicodec.codecs import (
    Audio,
    InvalidInput,
    LimitExceeded,
    Tokens,
    Video,
    compress,
    decompress,
    load,
)
from omnicodec.codecs.hub import opening
from omnicodec.codecs.hub.video_codec import HubVideo
from omnicodec.codecs.stream.omc import inspect, read_tokens, write_tokens

from .pixels import scaled, seen

torch = pytest.importorskip("torch")
diffusers = pytest.importorskip("diffusers")

Clip = Callable[..., Video]

SMALL: dict[str, Any] = {
    "latent_channels": 4, "encoder_block_out_channels": (8, 8, 8),
    "decode_block_out_channels": (8, 8, 8), "attention_resolutions": (), "num_layers": 1,
    "patch_size": 2, "spatial_compression_ratio": 4, "temporal_compression_ratio": 2,
    "latents_mean": None, "latents_std": None,
}  # fmt: skip
# Time and squares both by 4, as the 8 of CV8x8x8; four levels, as all that are published have.
ALIKE = {
    "temporal_compression_ratio": 4, "encoder_block_out_channels": (8,) * 4,
    "decode_block_out_channels": (8,) * 4,
}  # fmt: skip


def make(folder: Path, **options: Any) -> Any:
    """Save a small network with random weights, and return it as the library opens it."""
    torch.manual_seed(4)
    diffusers.AutoencoderKLCosmos(**{**SMALL, **options}).save_pretrained(folder)
    opened = diffusers.AutoencoderKLCosmos.from_pretrained(folder, low_cpu_mem_usage=False)
    return opened.eval().requires_grad_(False)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = tmp_path_factory.mktemp("cosmos") / "small-cosmos"
    make(found)
    return found


@pytest.fixture(scope="module")
def clip() -> Clip:
    """Return a function that makes a clip of noise; each is another one."""
    draw = np.random.default_rng(6)

    def noise(frames: int, height: int, width: int) -> Video:
        shape = (frames, height, width, 3)
        return Video(draw.integers(0, 256, shape, np.uint8), Fraction(30000, 1001))

    return noise


@pytest.mark.parametrize("shape", [(1, 4, 4), (4, 9, 14), (9, 8, 5)])
@pytest.mark.parametrize("options", [{}, ALIKE, {**ALIKE, "patch_type": "rearrange"}])
def test_values_and_frames_are_the_librarys(
    tmp_path: Path, options: dict[str, Any], shape: tuple[int, int, int], clip: Clip
) -> None:
    library = make(tmp_path / "small", **options)
    span = library.config.temporal_compression_ratio
    codec, video = load(f"hf:{tmp_path / 'small'}", device="cpu"), clip(*shape)
    assert codec.spec.covers == {"frames": span, "height": 4, "width": 4}
    tokens = codec.encode([video])[0]
    codec.check(tokens)
    frames, height, width = shape
    assert tokens.grid == (1 + -(-(frames - 1) // span), -(-height // 4), -(-width // 4))
    with torch.no_grad():
        latents = library.encode(scaled(video.frames, span, 4, 4)).latent_dist.mode()
        sample = library.decode(latents).sample
    assert np.array_equal(tokens.values, latents[0].reshape(4, -1).T.numpy())
    back = codec.decode([tokens])[0]
    assert np.array_equal(back.frames, seen(sample)[:frames, :height, :width])
    assert back.fps == video.fps
    assert read_tokens(write_tokens(tokens, codec), codec=codec).tokens == tokens


def test_long_and_large_videos_are_coded_in_pieces(
    folder: Path, clip: Clip, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(HubVideo, "tile_pixels", 8)
    monkeypatch.setattr(HubVideo, "chunk_frames", 6)  # of which 5 are whole tokens
    codec, video = load(folder, device="cpu"), clip(12, 10, 13)
    tokens = codec.encode([video])[0]
    assert (tokens.extent["chunk"], tokens.extent["tile"]) == (5, 2)
    assert tokens.grid == (3 + 3 + 2, 3, 4)
    values = tokens.values.reshape(*tokens.grid, 4)
    back = codec.decode([tokens])[0]
    for start, time in ((0, slice(0, 3)), (5, slice(3, 6)), (10, slice(6, 8))):
        for rows in (slice(0, 2), slice(2, 3)):
            for columns in (slice(0, 2), slice(2, 4)):
                area = np.s_[
                    start : start + 5,
                    4 * rows.start : 4 * rows.stop,
                    4 * columns.start : 4 * columns.stop,
                ]
                own = Video(np.ascontiguousarray(video.frames[area]), video.fps)
                alone = codec.encode([own])[0]
                found = values[time, rows, columns]
                assert alone.grid == found.shape[:3]
                assert np.array_equal(found.reshape(-1, 4), alone.values)
                assert np.array_equal(back.frames[area], codec.decode([alone])[0].frames)
    assert read_tokens(write_tokens(tokens, codec), codec=codec).tokens == tokens


def test_the_length_of_a_chunk_follows_from_the_size(
    folder: Path, clip: Clip, monkeypatch: pytest.MonkeyPatch
) -> None:
    codec = load(folder, device="cpu")
    assert codec.encode([clip(2, 4, 4)])[0].extent["chunk"] == 121
    monkeypatch.setattr(HubVideo, "piece_pixels", 400)
    assert codec.encode([clip(2, 8, 8)])[0].extent["chunk"] == 5  # 6 would fit
    assert codec.encode([clip(2, 8, 128)])[0].extent["chunk"] == 3  # the least there is


def test_batches_of_mixed_sizes_give_the_values_of_each(folder: Path, clip: Clip) -> None:
    codec = load(folder, device="cpu")
    shapes = [(3, 8, 4), (5, 5, 7), (3, 8, 4), (0, 4, 4), (2, 0, 4)]
    videos = [clip(*shape) for shape in shapes]
    alone = [codec.encode([video])[0] for video in videos]
    assert len({tokens.values.tobytes() for tokens in alone}) == 4
    assert codec.encode(videos, quality=32) == alone
    back = codec.decode(alone)
    assert back == [codec.decode([tokens])[0] for tokens in alone]
    assert [each.frames.shape for each in back] == [each.frames.shape for each in videos]


def test_halves_and_sound(folder: Path, clip: Clip) -> None:
    codec, video = load(folder, device="cpu"), clip(3, 6, 6)
    full, short = (codec.encode([video], quality=bits)[0] for bits in (32, 16))
    assert np.array_equal(short.values, full.values.astype(np.float16))
    heard = Video(video.frames, video.fps, Audio(np.zeros((1, 800), np.float32), 8000))
    assert codec.encode([heard]) == [full]
    assert codec.decode([full])[0].audio is None


def test_a_stream_with_sound_is_read_before_its_codec_is_open(
    folder: Path, clip: Clip, monkeypatch: pytest.MonkeyPatch
) -> None:
    codec, video = load(folder, device="cpu"), clip(3, 6, 6)
    heard = Video(video.frames, video.fps, Audio(np.zeros((1, 800), np.float32), 8000))
    stream = compress(heard, codec)
    monkeypatch.setattr(opening, "_by_name", {})
    assert inspect(stream).codec == codec.spec.name
    back = decompress(stream, codec=codec)
    assert back.audio is not None
    assert back.audio.samples.shape == (1, 800)


def test_lost_positions_are_filled_with_those_before(folder: Path, clip: Clip) -> None:
    codec = load(folder, device="cpu")
    tokens = codec.encode([clip(5, 8, 8)])[0]
    lost = np.zeros(12, np.bool_)
    lost[6:8] = True
    soft = tokens.values.copy()
    soft[6:8] = soft[5]
    filled = Tokens(tokens.codec, tokens.fingerprint, tokens.ids, tokens.grid, tokens.extent, soft)
    assert codec.decode([tokens], missing=[lost]) == codec.decode([filled])


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"chunk": 0}, "chunks of 1 to 121 frames"),
        ({"chunk": 4}, "one more than a multiple of 2"),
        ({"chunk": 123}, "chunks of 1 to 121 frames"),
        ({"tile": 0}, "tiles of 1 to 256 tokens, not 0"),
        ({"tile": 257}, "tiles of 1 to 256 tokens, not 257"),
        ({"frames": -1}, "cannot have -1 frames"),
        ({"frames": 9}, "does not fit the extent"),
        ({"height": 0}, "does not fit the extent"),
        ({"fps_denominator": 0}, "positive number of frames"),
        ({"bits": 16}, "16 bits"),
    ],
)
def test_made_up_extents_are_refused(
    folder: Path, clip: Clip, changed: dict[str, int], said: str
) -> None:
    codec = load(folder, device="cpu")
    tokens = codec.encode([clip(3, 8, 8)])[0]
    extent = {**tokens.extent, **changed}
    with pytest.raises(InvalidInput, match=said):
        codec.decode(
            [Tokens(tokens.codec, tokens.fingerprint, tokens.ids, tokens.grid, extent, tokens.soft)]
        )


@pytest.mark.parametrize("changed", [{"frames": 1 << 40}, {"width": 1 << 60}, {"height": 1 << 28}])
def test_huge_claims_are_refused(folder: Path, clip: Clip, changed: dict[str, int]) -> None:
    codec = load(folder, device="cpu")
    extent = {**codec.encode([clip(0, 0, 0)])[0].extent, **changed}
    with pytest.raises(LimitExceeded):
        codec.check_layout((0, 0, 0), extent)


def test_configurations_that_are_not_the_weights(folder: Path, tmp_path: Path, clip: Clip) -> None:
    for file in folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    stated = json.loads((tmp_path / "config.json").read_text())
    for key, value, said in (
        ("latent_channels", 8, r"is \("),
        ("num_layers", 2, "is missing"),
        ("in_channels", 4, "takes 4 channels"),
    ):
        (tmp_path / "config.json").write_text(json.dumps(stated | {key: value}))
        with pytest.raises(InvalidInput, match=said):
            load(f"hf:{tmp_path}", device="cpu")
    # Of this the weights say nothing: the network halves time once, not twice.
    (tmp_path / "config.json").write_text(json.dumps(stated | {"temporal_compression_ratio": 1}))
    with pytest.raises(InvalidInput, match=r"gives .* is right"):
        load(f"hf:{tmp_path}", device="cpu").encode([clip(5, 8, 8)])


def test_the_spec_tells_what_a_diffusion_model_takes(tmp_path: Path, folder: Path) -> None:
    make(tmp_path / "scaled", latents_mean=[0.0] * 4, latents_std=[1.0] * 4)
    plain, scaled = (load(f"hf:{each}").spec for each in (folder, tmp_path / "scaled"))
    assert plain.details["a diffusion model takes"].startswith("value, times")
    assert scaled.details["a diffusion model takes"].startswith("(value - latents_mean) /")
    assert plain.soft_width == scaled.soft_width == 4
