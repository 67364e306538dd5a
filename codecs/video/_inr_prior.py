"""The prior of `video/inr`: a stream of rANS for each frame of a group.

Frames are coded apart, so that threads can share them. A chunk is a group:

    frames, height, width       8, 32 and 32 bits
    each frame                  bytes of its stream (32 bits), kind, quality (8 bits each)
    streams                     of each frame: motion, activity, latents; or of a key frame with
                                networks of its own: heads (8 bits each), updates, latents
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Final

import numpy as np
from numpy.typing import NDArray

from omnicodec.codecs.errors import CorruptStream, InvalidInput, OmnicodecError
from omnicodec.codecs.image._inr_prior import from_ids, to_ids
from omnicodec.codecs.image._inr_updates import (
    HEADS,
    arm_updates,
    heads_are_valid,
    put_updates,
    take_updates,
)
from omnicodec.codecs.limits import MAX_VIDEO_PIXELS, check_count
from omnicodec.codecs.prior import Prior, Span
from omnicodec.codecs.prior.latents import put_integers, put_scales, take_integers, take_scales
from omnicodec.codecs.prior.rans import Codes, Source, distributions
from omnicodec.codecs.threads import in_order
from omnicodec.codecs.video._inr_facts import IDS, prior_fingerprint
from omnicodec.codecs.video._inr_format import (
    HNERV_FRONT,
    KINDS,
    LONGEST,
    OWN_KEY,
    PREDICTED,
    front_of,
    hnerv_front,
    is_hnerv,
    kind_of,
    pack,
    quality_of,
    unpack,
)
from omnicodec.codecs.video._inr_kernels import (
    put_activity,
    put_plane,
    take_activity,
    take_plane,
)
from omnicodec.codecs.video._motion_prior import MotionPrior
from omnicodec.models.inr.arm_kernels import CLASSES
from omnicodec.models.inr.exact_arm import Ints, Layers, layers_at, room_for, shared_arms
from omnicodec.models.inr.frames import Frame, Key, Predicted
from omnicodec.models.inr.hnerv.integers import Segment, layout, row_size
from omnicodec.models.inr.motion.field import Motion
from omnicodec.models.inr.order import Step, order
from omnicodec.models.inr.pyramid import padded, positions, shapes
from omnicodec.models.inr.residual import BLOCK, LEVELS
from omnicodec.models.inr.residual_planes import PLANES, around_of, empty_planes, side_of
from omnicodec.models.inr.updates import from_heads, heads_of

_QUALITIES: Final = 101

_NETWORK: Final = 0xC0
"""The first byte of a network's chunk is this, and more than any number of frames."""

_FRONT: Final = struct.Struct("<BII")
_NETWORK_FRONT: Final = struct.Struct("<BBIII")
_HEAD: Final = struct.Struct("<IBB")


class VideoInrPrior(Prior):
    """Codes a group of frames: key frames as pictures, others as motion and residuals.

    An instance may be shared between threads.
    """

    parallel: ClassVar[bool] = True

    def __init__(self, tensors: Mapping[str, NDArray[Any]], sizes: Sequence[int]) -> None:
        """Take the models of latents and the tables, all of them integers.

        `arms.*`, `rates`, `frequencies`, `shifts` are those of `image/inr`; `residual.arms.*`,
        `residual_rates`, `motion_frequencies` and `activity_frequencies` are of predicted frames.
        `sizes` are those of the groups of weights that a key frame may change.
        Raises ValueError for tensors that do not belong together.
        """
        try:
            inner = {
                k.removeprefix("residual."): v
                for k, v in tensors.items()
                if k.startswith("residual.")
            }
            self.arms, self.residual_arms = shared_arms(tensors), shared_arms(inner, LEVELS)
            self.tensors = dict(tensors)
            self._rates, self._residual_rates = tensors["rates"], tensors["residual_rates"]
            self._tables = distributions(tensors["frequencies"], np.asarray(tensors["shifts"]))
            self._activity = distributions(tensors["activity_frequencies"], np.zeros(1, np.int64))
            self._motion = MotionPrior(tensors)
            self.sizes = tuple(sizes)
        except KeyError as e:
            raise ValueError(f"tensors are missing: {e}") from e
        for name in ("rates", "residual_rates", "residual_steps"):
            if tensors[name].shape != (_QUALITIES,):
                raise ValueError(f"there is one of {name} for each quality")
        self._kept: dict[int, list[Layers]] = {}
        self.fingerprint = prior_fingerprint(tensors)

    def encode(self, ids: NDArray[np.int32], span: Span) -> bytes:
        if ids.size and (ids.min() < 0 or ids.max() >= IDS):
            raise InvalidInput("ids are not in the range of their codebooks")
        row = from_ids(ids[0])
        if is_hnerv(row):
            return self._put_network(row)
        count, height, width = front_of(row)
        self._check(count, height, width, len(span), InvalidInput)
        frames = unpack(row, count, height, width, self.sizes)
        again = pack(frames, height, width)
        if again.size > row.size or (row[: again.size] != again).any() or row[again.size :].any():
            raise InvalidInput("these tokens are not those of a group of frames")
        streams = list(in_order(self._put, frames))
        heads = [
            _HEAD.pack(len(stream), kind_of(frame), frame.quality)
            for stream, frame in zip(streams, frames, strict=True)
        ]
        return b"".join([_FRONT.pack(count, height, width), *heads, *streams])

    def decode(self, data: bytes, span: Span) -> NDArray[np.int32]:
        if len(data) < _FRONT.size:
            raise CorruptStream("entropy-coded data is cut off")
        if data[0] >= _NETWORK:
            return self._take_network(data, len(span))
        count, height, width = _FRONT.unpack_from(data)
        self._check(count, height, width, len(span), CorruptStream)
        at = _FRONT.size + count * _HEAD.size
        if len(data) < at:
            raise CorruptStream("entropy-coded data is cut off")
        jobs = []
        for step, (size, kind, quality) in zip(
            order(count), _HEAD.iter_unpack(data[_FRONT.size : at]), strict=True
        ):
            good = kind in KINDS and (kind != PREDICTED or step.references)
            if not good or quality >= _QUALITIES:
                raise CorruptStream("entropy-coded data is invalid")
            jobs.append((step, kind, quality, data[at : at + size], height, width))
            at += size
        if at != len(data):
            raise CorruptStream("entropy-coded data is not that of its chunk")
        row = pack(list(in_order(self._take, jobs)), height, width)
        if row.size > len(span):
            raise CorruptStream("a group has more tokens than its chunk")
        return to_ids(np.pad(row, (0, len(span) - row.size)))[None]

    def warm(self) -> None:
        """Compile all loops, or read them from the disk."""
        sides = padded(34, 34, LEVELS)
        key = Key(40, [np.zeros(shape, np.int32) for shape in shapes(64, 64)])
        active = np.ones((sides[0] // BLOCK, sides[1] // BLOCK), np.bool_)
        motion = Motion.still(34, 34, 1)
        frames: list[Frame] = [key, Predicted(40, motion, active, empty_planes(*sides))]
        ids = to_ids(pack(frames, 34, 34))[None]
        span = Span((1, ids.shape[1]), 0, ids.shape[1])
        self.decode(self.encode(ids, span), span)

    def _check(
        self, count: int, height: int, width: int, room: int, error: type[OmnicodecError]
    ) -> None:
        """Raise an error unless a chunk of so many positions may hold such a group."""
        good = 0 < count <= LONGEST and 0 < height and 0 < width
        high, wide = padded(height, width)
        if not good or positions(high, wide) > room:
            raise error(f"a chunk cannot hold {count} frames of {width}x{height} pixels")

    def frame_bits(self, frame: Frame) -> int:
        """Return the bits that a frame takes."""
        return 8 * (_HEAD.size + len(self._put(frame)))

    def _put_network(self, row: Ints) -> bytes:
        """Return the chunk of a network's row: its size, its head as bytes, and its segments."""
        count, height, width = front_of(row)
        segments = _segments(count, height, width, quality_of(row), row.size, InvalidInput)
        values = row[HNERV_FRONT:]
        head = values[: segments[0].start]
        if head.min() < 0 or head[1::2].max() >= CLASSES or head.max() > 255:
            raise InvalidInput("these tokens are not those of a network")
        codes = Codes()
        for segment, which in zip(segments, head[1::2], strict=True):
            part = np.ascontiguousarray(values[segment.start : segment.stop])
            put_integers(codes, self._tables, int(which), part)
        front = _NETWORK_FRONT.pack(_NETWORK, quality_of(row), count, height, width)
        return front + head.astype(np.uint8).tobytes() + codes.finish()

    def _take_network(self, data: bytes, room: int) -> NDArray[np.int32]:
        """Return the ids of a network's chunk."""
        if len(data) < _NETWORK_FRONT.size:
            raise CorruptStream("entropy-coded data is cut off")
        first, quality, count, height, width = _NETWORK_FRONT.unpack_from(data)
        if first != _NETWORK or quality >= _QUALITIES:
            raise CorruptStream("entropy-coded data is invalid")
        segments = _segments(count, height, width, quality, room, CorruptStream)
        at = _NETWORK_FRONT.size + segments[0].start
        values = np.zeros(segments[-1].stop, np.int32)
        head = np.frombuffer(data[_NETWORK_FRONT.size : at], np.uint8)
        if head.size != segments[0].start or head[1::2].max() >= CLASSES:
            raise CorruptStream("entropy-coded data is invalid")
        values[: head.size] = head
        source, good = Source(data[at:]), True
        for segment, which in zip(segments, head[1::2], strict=True):
            part = values[segment.start : segment.stop]
            good &= take_integers(source, self._tables, int(which), part)
        source.close()
        if not good:
            raise CorruptStream("entropy-coded data is invalid")
        row = np.concatenate([hnerv_front(quality, count, height, width), values])
        return to_ids(np.pad(row, (0, room - row.size)))[None]

    def _put(self, frame: Frame) -> bytes:
        """Return the stream of a frame."""
        codes = Codes()
        if isinstance(frame, Key):
            front, own = b"", {}
            if any(frame.updates):
                heads = heads_of(frame.updates)
                values = [u.values if u else np.empty(0, np.int32) for u in frame.updates]
                put_updates(codes, self._tables, heads, values)
                front, own = heads.astype(np.uint8).tobytes(), arm_updates(heads, values)
            rate = int(self._rates[frame.quality])
            put_scales(codes, self._tables, self.arms, rate, frame.scales, own)
            return front + codes.finish()
        self._motion.encode(frame.motion, codes)
        active = frame.active
        room = codes.room(active.size)
        codes.add(room, put_activity(self._activity, active, room))
        nets = self._nets(frame.quality)
        for which, (plane, wide) in enumerate(zip(PLANES, frame.planes, strict=True)):
            side, net = side_of(plane), nets[which]
            room = codes.room(int(active.sum()) * side * side)
            around = around_of(frame.planes, which)
            codes.add(
                room, put_plane(self._tables, active, side, wide, around, net, room_for(), room)
            )
        return codes.finish()

    def _take(self, job: tuple[Step, int, int, bytes, int, int]) -> Frame:
        """Return the frame of a stream."""
        step, kind, quality, data, height, width = job
        if kind != PREDICTED:
            return self._take_key(kind, quality, data, height, width)
        source = Source(data)
        motion = self._motion.decode(source, height, width, len(step.references))
        sides = padded(height, width, LEVELS)
        active = np.zeros((sides[0] // BLOCK, sides[1] // BLOCK), np.bool_)
        good = take_activity(self._activity, source.words, source.state, active)
        planes = empty_planes(*sides)
        for which, (plane, net) in enumerate(zip(PLANES, self._nets(quality), strict=True)):
            good &= take_plane(
                self._tables, active, side_of(plane), planes[which], around_of(planes, which),
                net, room_for(), source.words, source.state,
            )  # fmt: skip
        source.close()
        if not good:
            raise CorruptStream("entropy-coded data is invalid")
        return Predicted(quality, motion, active, planes)

    def _take_key(self, kind: int, quality: int, data: bytes, height: int, width: int) -> Key:
        """Return the key frame of a stream."""
        heads, values, at = np.zeros(HEADS, np.int32), [np.empty(0, np.int32)] * len(self.sizes), 0
        if kind == OWN_KEY:
            if len(data) < HEADS:
                raise CorruptStream("entropy-coded data is cut off")
            heads[:], at = np.frombuffer(data[:HEADS], np.uint8), HEADS
            if not heads_are_valid(heads) or not heads[1::2].any():
                raise CorruptStream("entropy-coded data is invalid")
            values = [np.zeros(size, np.int32) for size in self.sizes]
        source = Source(data[at:])
        good = take_updates(source, self._tables, heads, values)
        scales = [np.zeros(shape, np.int32) for shape in shapes(*padded(height, width))]
        rate, own = int(self._rates[quality]), arm_updates(heads, values)
        good &= take_scales(source, self._tables, self.arms, rate, scales, own)
        source.close()
        if not good:
            raise CorruptStream("entropy-coded data is invalid")
        return Key(quality, scales, from_heads(heads, values) if at else ())

    def _nets(self, quality: int) -> list[Layers]:
        """Return the models of the planes of residuals, which are kept, as all frames need them."""
        rate = int(self._residual_rates[quality])
        if rate not in self._kept:
            self._kept[rate] = [layers_at(self.residual_arms, plane, rate, {}) for plane in PLANES]
        return self._kept[rate]


def _segments(
    count: int, height: int, width: int, quality: int, room: int, error: type[OmnicodecError]
) -> list[Segment]:
    """Return the segments of a network's row, which has to have room in its chunk."""
    extent = {"frames": count, "height": height, "width": width}
    if not min(count, height, width):
        raise error("a network of no pixels")
    check_count(count * height * width, MAX_VIDEO_PIXELS, "pixels of video")
    segments = layout(extent, quality)
    if HNERV_FRONT + row_size(segments) > room:
        raise error("a network does not fit its chunk")
    return segments
