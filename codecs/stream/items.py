"""Items to .omc streams and back, one or many: a codec, then its prior."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from omnicodec.codecs.media import Media
from omnicodec.codecs.registry import AnyCodec, load, load_named
from omnicodec.codecs.stream.omc import (
    Sound,
    StreamContents,
    positions,
    read_tokens,
    reads_apart,
    write_tokens,
)
from omnicodec.codecs.stream.sound import decode_contents, encode_sound
from omnicodec.codecs.threads import in_order
from omnicodec.codecs.tokens import Tokens
from omnicodec.codecs.work import Work


def compress(
    media: Media,
    codec: str | AnyCodec,
    *,
    quality: int | None = None,
    effort: str | None = None,
    method: str | None = None,
    device: str = "auto",
    source_name: str = "",
    source_size: int = 0,
    work: Work | None = None,
) -> bytes:
    """Return the .omc stream of one item, made by a codec that is named or open.

    A video's sound is coded by the default codec of audio and goes into the same stream.
    `work` watches and steers a resumable codec. `source_name` and `source_size` describe the
    file that the item came from, if any.
    Raises what `load` and `Codec.encode` raise.
    """
    loaded = load(codec, device=device) if isinstance(codec, str) else codec
    loaded.encode([], quality=quality, effort=effort, method=method)  # says no
    sound = encode_sound(media, device=device)  # first, since it may be refused at once
    (tokens,) = loaded.encode([media], quality=quality, effort=effort, method=method, work=work)
    return write_tokens(
        tokens,
        loaded,
        quality=quality,
        source_name=source_name,
        source_size=source_size,
        sound=sound,
    )


def decompress(
    stream: bytes,
    *,
    partial: bool = False,
    device: str = "auto",
    codec: AnyCodec | None = None,
) -> Media:
    """Return the item of an .omc stream, which names its codec.

    A published codec has to be open already, or given as `codec`.

    With `partial`, a damaged or cut-off stream gives back what its whole chunks hold, and
    the codec fills in the rest. Raises `CorruptStream` for damage, `FingerprintMismatch`
    for a stream of another model.
    """
    contents = read_tokens(stream, codec=codec, partial=partial, device=device)
    return decode_contents(contents, codec=codec, device=device)


def compress_many(
    items: Iterable[Media],
    codec: str | AnyCodec,
    *,
    quality: int | None = None,
    effort: str | None = None,
    method: str | None = None,
    device: str = "auto",
    threads: int | None = None,
) -> Iterator[bytes]:
    """Return an iterator over the .omc stream of each item, in order, as `compress` makes them.

    Items are worked on side by side on `threads` threads (None: one for each core) where
    that is faster, and taken a few ahead of the streams, large ones fewer. An error is raised
    in place of the stream of the item that it is about.
    """
    loaded = load(codec, device=device) if isinstance(codec, str) else codec
    settings: dict[str, Any] = {"quality": quality, "effort": effort, "method": method}
    loaded.encode([], **settings)  # says no before anything is begun

    def encode(item: Media) -> tuple[Tokens, Sound | None]:
        sound = encode_sound(item, device=device)
        return loaded.encode([item], **settings)[0], sound

    def write(encoded: tuple[Tokens, Sound | None]) -> bytes:
        tokens, sound = encoded
        return write_tokens(tokens, loaded, quality=quality, threads=threads, sound=sound)

    def size(encoded: tuple[Tokens, Sound | None]) -> int:
        return len(encoded[0])

    tokens = in_order(
        encode, items, parallel=loaded.parallel, size=lambda item: item.nbytes, threads=threads
    )
    return in_order(write, tokens, parallel=loaded.prior.parallel, size=size, threads=threads)


def decompress_many(
    streams: Iterable[bytes],
    *,
    partial: bool = False,
    device: str = "auto",
    threads: int | None = None,
) -> Iterator[Media]:
    """Return an iterator over the item of each .omc stream, as `decompress` returns it.

    Streams may be of different codecs; threads and errors are as in `compress_many`.
    """

    def read(stream: bytes) -> StreamContents:
        return read_tokens(stream, partial=partial, device=device, threads=threads)

    def decode(contents: StreamContents) -> Media:
        return decode_contents(contents, device=device)

    def decodes_apart(contents: StreamContents) -> bool:
        return load_named(contents.tokens.codec, device=device).parallel

    found = in_order(
        read,
        streams,
        parallel=lambda stream: reads_apart(stream, device),
        size=positions,
        threads=threads,
    )
    return in_order(
        decode,
        found,
        parallel=decodes_apart,
        size=lambda contents: len(contents.tokens),
        threads=threads,
    )
