"""`video/inr`: groups of frames as motion and latents, or a whole clip as a network."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import TYPE_CHECKING, ClassVar, Final, Self

import numpy as np

from omnicodec.codecs import limits
from omnicodec.codecs.codec import CodecSpec, Mask, Settings
from omnicodec.codecs.errors import InvalidInput
from omnicodec.codecs.frame_codec import FrameCodec
from omnicodec.codecs.limits import check_count, check_pixels
from omnicodec.codecs.media import Media, Video
from omnicodec.codecs.registry import register
from omnicodec.codecs.shipped_codec import ShippedCodec
from omnicodec.codecs.tokens import Tokens
from omnicodec.codecs.video._inr_facts import IDS, prior_fingerprint
from omnicodec.models import weights

if TYPE_CHECKING:
    from omnicodec.codecs.video._inr_prior import VideoInrPrior
    from omnicodec.models.inr.image import ImageInr

NAME: Final = "video/inr"

DEFAULT_QUALITY: Final = 40

EFFORTS: Final = ("fast", "normal", "best")

METHODS: Final = ("motion", "hnerv")


@register(NAME)
class VideoInrCodec(ShippedCodec[Video], FrameCodec):
    """Video of any size and length to the integers of a small representation of it.

    `_inr_format` has the order of its tokens. With the method "motion", frames follow others by
    motion, and latents correct them; with "hnerv", the reference, one network is the whole clip.
    """

    name: ClassVar[str] = NAME
    media_type: ClassVar[type[Media]] = Video

    def __init__(
        self, network: ImageInr, prior: VideoInrPrior, shipped: weights.Shipped, device: str
    ) -> None:
        self.spec = self._spec_of(shipped)
        self.prior: VideoInrPrior = prior
        self._network, self._device = network, device

    @classmethod
    def _spec_of(cls, shipped: weights.Shipped) -> CodecSpec:
        return CodecSpec(
            name=NAME,
            version=shipped.config["version"],
            modality="video",
            summary="frames that follow others by motion, with fitted latents, at any rate",
            fingerprint=shipped.fingerprint,
            codebook_sizes=(IDS,),
            covers={},
            prior=prior_fingerprint(shipped.prior),
            extent=("frames", "height", "width", "groups", "fps_numerator", "fps_denominator"),
            grid_rank=2,
            qualities=tuple(range(101)),
            efforts=EFFORTS,
            methods=METHODS,
            resumable=True,
            weight_bytes=shipped.nbytes,
            citation="C3: Kim et al. 2024, arXiv:2312.02753; "
            "NIRVANA: Maiya et al. 2023, arXiv:2212.14593; "
            "HNeRV: Chen et al. 2023, arXiv:2304.02633",
        )

    @classmethod
    def _build(cls, shipped: weights.Shipped, device: str) -> Self:
        from omnicodec.codecs.video._inr_prior import VideoInrPrior
        from omnicodec.models.inr.exact_arm import shared_arms
        from omnicodec.models.inr.image import build
        from omnicodec.models.inr.updates import groups

        network = build(shipped, shared_arms(shipped.prior), device)
        sizes = [sum(p.numel() for p in group) for group in groups(network)]
        prior = VideoInrPrior(shipped.prior, sizes)
        return cls(network, prior, shipped, device)

    def chunk_size(self, grid: tuple[int, ...]) -> int:
        return max(1, grid[1])

    def expected_grid(self, extent: Mapping[str, int], positions: int) -> tuple[int, ...]:
        frames, height, width = (extent[name] for name in ("frames", "height", "width"))
        groups = extent["groups"]
        if min(frames, height, width, groups) < 0 or groups > frames:
            raise InvalidInput(f"a video cannot have {frames} frames of {width}x{height} pixels")
        if extent["fps_numerator"] <= 0 or extent["fps_denominator"] <= 0:
            raise InvalidInput("a video has a positive number of frames a second")
        check_pixels(height, width)
        check_count(frames * height * width, limits.MAX_VIDEO_PIXELS, "pixels of video")
        if not frames * height * width:
            return 0, 0
        if not groups or positions % groups or not positions:
            raise InvalidInput(f"{positions} positions are not those of {groups} groups")
        return groups, positions // groups

    def _encode(self, item: Video, settings: Settings) -> Tokens:
        count, height, width = item.frames.shape[:3]
        extent = {
            "frames": count,
            "height": height,
            "width": width,
            "groups": 0,
            "fps_numerator": item.fps.numerator,
            "fps_denominator": item.fps.denominator,
        }
        if not item.frames.size:
            ids = np.zeros((1, 0), np.int32)
            return Tokens(NAME, self.spec.fingerprint, ids, (0, 0), extent)
        from omnicodec.codecs.image._inr_prior import to_ids
        from omnicodec.codecs.video import _inr_fit as fit

        key = self._key(item, settings)
        if settings.method == "hnerv":
            rows = [fit.hnerv_row(item.frames, _quality(settings), settings, key, self._device)]
        else:
            rows = fit.group_rows(
                self._network, self.prior, item.frames, _quality(settings), settings, key
            )
        longest = max(row.size for row in rows)
        grid = (len(rows), longest)
        padded = np.stack([np.pad(row, (0, longest - row.size)) for row in rows])
        ids = to_ids(padded).reshape(1, -1)
        return Tokens(NAME, self.spec.fingerprint, ids, grid, {**extent, "groups": len(rows)})

    def _decode(self, tokens: Tokens, missing: Mask | None) -> Video:
        return self.decode_frames(tokens, range(tokens.extent["frames"]), missing)

    def positions_of(
        self, frames: range, grid: tuple[int, ...], extent: Mapping[str, int]
    ) -> Sequence[range]:
        from omnicodec.codecs.video._inr_format import groups_of

        size = grid[1]
        return [
            range(which * size, (which + 1) * size)
            for which, group in enumerate(groups_of(extent["frames"], extent["groups"]))
            if max(frames.start, group.start) < min(frames.stop, group.stop)
        ]

    def decode_frames(self, tokens: Tokens, frames: range, missing: Mask | None = None) -> Video:
        """Return some frames of a video; groups that have none of them are not looked at.

        Of a group that is `missing`, the last frame before it is shown, or the first one behind.
        """
        extent = tokens.extent
        height, width = extent["height"], extent["width"]
        pixels = np.zeros((len(frames), height, width, 3), np.uint8)
        fps = Fraction(extent["fps_numerator"], extent["fps_denominator"])
        if pixels.size:
            from omnicodec.codecs.video._inr_render import draw

            lost: Mask | None = None
            if missing is not None:
                lost = np.asarray(missing.reshape(tokens.grid).any(1))
            rows = tokens.ids.reshape(tokens.grid)
            synthesis = self._network.synthesis
            draw(rows, lost, extent, frames, synthesis, self.prior, self._device, pixels)
        return Video(pixels, fps)

    def _key(self, item: Video, settings: Settings) -> str:
        digest = hashlib.sha256(np.ascontiguousarray(item.frames).data)
        facts = (self.spec.fingerprint, item.frames.shape, _quality(settings), settings.effort)
        digest.update(repr((*facts, settings.method)).encode())
        return digest.hexdigest()


def _quality(settings: Settings) -> int:
    return DEFAULT_QUALITY if settings.quality is None else settings.quality
