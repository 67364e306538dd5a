"""Codecs of video that draw some frames without the rest."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence

from omnicodec.codecs.codec import Codec, Mask
from omnicodec.codecs.media import Video
from omnicodec.codecs.tokens import Tokens


class FrameCodec(Codec[Video]):
    """A codec of video whose frames can be had without all others.

    Its extent has the number of `frames`. What stands between a stream and a range of frames is
    only `positions_of`: a reader decodes the chunks with those positions, and no others.
    """

    @abstractmethod
    def positions_of(
        self, frames: range, grid: tuple[int, ...], extent: Mapping[str, int]
    ) -> Sequence[range]:
        """Return the positions, in ranges, that some frames of a video are decoded from.

        Grid and extent are known to fit each other, and the frames to be among them.
        """

    @abstractmethod
    def decode_frames(self, tokens: Tokens, frames: range, missing: Mask | None = None) -> Video:
        """Return some frames of a video: those that `decode` has in these places.

        Ids at other positions than those of `positions_of` are not looked at. Where a position
        is `missing`, frames are filled in as well as the codec can.
        """
