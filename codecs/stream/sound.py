"""The sound of a video: coded by the audio codec, and given back with the frames."""

from __future__ import annotations

from dataclasses import replace

from omnicodec.codecs.errors import CorruptStream
from omnicodec.codecs.media import Audio, Media, Video
from omnicodec.codecs.registry import AnyCodec, default_codec, load, load_named
from omnicodec.codecs.stream.omc import Sound, StreamContents


def encode_sound(media: Media, *, device: str = "auto") -> Sound | None:
    """Return the tokens of a video's sound and their codec; None for any other item.

    The codec is the default one of audio, at its own quality. Raises what `Codec.encode`
    raises, such as `InvalidInput` for more channels than it takes.
    """
    if not isinstance(media, Video) or media.audio is None:
        return None
    codec = load(default_codec("audio"), device=device)
    return codec.encode([media.audio])[0], codec


def decode_contents(
    contents: StreamContents, *, codec: AnyCodec | None = None, device: str = "auto"
) -> Media:
    """Return the item of what was read from a stream, a video with its sound.

    `codec` is the one of the item, else the one that the stream names. Raises what
    `Codec.decode` raises.
    """
    codec = codec or load_named(contents.tokens.codec, device=device)
    media: Media = codec.decode([contents.tokens], missing=[contents.missing])[0]
    if contents.sound is None:
        return media
    heard = decode_contents(contents.sound, device=device)
    if not isinstance(media, Video) or not isinstance(heard, Audio):
        raise CorruptStream(f"{contents.tokens.codec} has no sound")
    return replace(media, audio=heard)
