"""Hostile requests, made by code: what is sent, and the status that is right for it."""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np

from omnicodec.codecs import MODALITIES, Audio, Image, Text, Video, compress, load
from omnicodec.service.convert import media_from_proto, media_to_proto, tokens_to_proto
from omnicodec.v1 import codec_service_pb2 as pb
from omnicodec.v1 import media_pb2

RNG = np.random.default_rng(5)

INVALID, EXHAUSTED, LOST = "INVALID_ARGUMENT", "RESOURCE_EXHAUSTED", "DATA_LOSS"


@dataclass(frozen=True)
class Case:
    """A request of a method and the names of the statuses that are right; "OK" for an answer."""

    name: str
    method: str
    request: Any
    statuses: tuple[str, ...]


def _encode(name: str, codec: str, *statuses: str, **item: Any) -> Case:
    return Case(name, "Encode", pb.EncodeRequest(codec=codec, items=[item]), statuses)


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int, height: int, data: bytes) -> bytes:
    """Return a PNG file of 8-bit grey that says so many pixels, and holds `data`."""
    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    parts = _chunk(b"IHDR", head) + _chunk(b"IDAT", data) + _chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + parts


def gif(width: int, height: int, frames: int) -> bytes:
    """Return a GIF file of so many frames of one pixel on a canvas of this size."""
    head = b"GIF89a" + struct.pack("<HHBBB", width, height, 0x80, 0, 0) + bytes(6)
    frame = b"," + struct.pack("<HHHHB", 0, 0, 1, 1, 0) + b"\x02\x02\x44\x01\x00"
    return head + frame * frames + b";"


def bmp(width: int, height: int) -> bytes:
    """Return a BMP file that says so many pixels and has four bytes of them."""
    head = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 24, 0, 0, 0, 0, 0, 0)
    return b"BM" + struct.pack("<IHHI", 58, 0, 0, 54) + head + bytes(4)


def wav(samples: int, data: bytes, rate: int = 8000, channels: int = 1) -> bytes:
    """Return a WAV file that says so many samples, and holds `data`."""
    width = 2 * channels
    head = struct.pack("<HHIIHH", 1, channels, rate, rate * width % 2**32, width % 2**16, 16)
    body = b"WAVEfmt " + struct.pack("<I", 16) + head + b"data"
    body += struct.pack("<I", min(samples * width, 2**32 - 1)) + data
    return b"RIFF" + struct.pack("<I", min(len(body), 2**32 - 1)) + body


def tiff_loop() -> bytes:
    """Return a TIFF file whose directory of pictures comes back to itself."""
    entries = [(256, 4, 1, 4), (257, 4, 1, 4), (258, 3, 1, 8), (259, 3, 1, 1), (262, 3, 1, 1),
               (273, 4, 1, 8), (277, 3, 1, 1), (278, 4, 1, 4), (279, 4, 1, 16)]  # fmt: skip
    directory = struct.pack("<H", len(entries))
    directory += b"".join(struct.pack("<HHII", *entry) for entry in entries)
    return b"II*\0" + struct.pack("<I", 24) + bytes(16) + directory + struct.pack("<I", 24)


PLAYLISTS = {
    "hls": b"#EXTM3U\n#EXTINF:10,\nfile:///etc/passwd\n#EXT-X-ENDLIST\n",
    "hls over http": b"#EXTM3U\n#EXTINF:10,\nhttp://127.0.0.1:1/a.ts\n#EXT-X-ENDLIST\n",
    "concat": b"ffconcat version 1.0\nfile /etc/passwd\n",
    "sdp": b"v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 1 RTP/AVP 96\n",
    "svg": b'<svg xmlns="http://www.w3.org/2000/svg"><image href="file:///etc/passwd"/></svg>',
    "eps": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(/etc/passwd) (r) file\n",
    "imf": b'<?xml version="1.0"?><CompositionPlaylist><Uri>/etc/passwd</Uri>',
}
"""Files that would have a careless reader open others."""


def media_cases() -> list[Case]:
    """Files and raw media that are too large, cut off, or not what they say."""
    zeros = zlib.compress(bytes(1 << 22), 9)
    picture = Image(RNG.integers(0, 256, (40, 60, 3), np.uint8))
    sound = Audio(RNG.uniform(-0.5, 0.5, (1, 4000)).astype(np.float32), 8000)
    film = Video(RNG.integers(0, 256, (4, 16, 16, 3), np.uint8), Fraction(25), sound)
    too_large = {
        "png of 2^62 pixels": png(2**31 - 1, 2**31 - 1, zeros),
        "png of a gigapixel": png(40_000, 40_000, zeros),
        "gif of a gigapixel": gif(60_000, 60_000, 1),
        "bmp of a negative width": bmp(-5, 5),
    }
    cases = [_encode(n, "image/vq", EXHAUSTED, INVALID, file=d) for n, d in too_large.items()]
    lying = {
        "png that holds less": png(3000, 3000, zlib.compress(b"\0" * 9)),
        "png that is no zlib": png(300, 300, b"\xff" * 50),
        "bmp that holds less": bmp(3000, 3000),
        "tiff that comes back to itself": tiff_loop(),
    }
    cases += [_encode(n, "image/vq", INVALID, "OK", file=d) for n, d in lying.items()]
    cases.append(_encode("gif of 20,000 frames", "image/vq", "OK", file=gif(8, 8, 20_000)))
    for suffix in (".png", ".jpg", ".webp", ".avif", ".gif", ".tif", ".bmp"):
        whole = picture.to_bytes(suffix)
        for share in (0.02, 0.5, 0.97):
            cut = whole[: int(len(whole) * share)]
            cases.append(_encode(f"{suffix} cut at {share}", "image/vq", INVALID, "OK", file=cut))
    heard = {
        "wav of a day": wav(86_400 * 8000, bytes(100)),
        "wav of 65,535 channels": wav(10, bytes(100), channels=65_535),
        "wav at 0 Hz": wav(10, bytes(20), rate=0),
        "wav at 4 GHz": wav(10, bytes(20), rate=2**32 - 1),
        "wav without samples": wav(0, b""),
        "a head of flac": b"fLaC" + bytes(40),
        "a head of ogg": b"OggS" + bytes(60),
        "mp3 of noise": b"\xff\xfb\x90\x00" + RNG.bytes(3000),
    }
    cases += [_encode(n, "audio/rvq", INVALID, EXHAUSTED, "OK", file=d) for n, d in heard.items()]
    for suffix in (".wav", ".flac", ".ogg"):
        whole = sound.to_bytes(suffix)
        cut = whole[: len(whole) // 2]
        cases.append(_encode(f"{suffix} cut off", "audio/rvq", INVALID, "OK", file=cut))
    whole = film.to_bytes(".mp4")
    damaged = bytearray(whole)
    damaged[len(damaged) // 3 :: 7] = b"\xff" * len(damaged[len(damaged) // 3 :: 7])
    for name, data in {"cut": whole[: len(whole) // 2], "damaged": bytes(damaged)}.items():
        cases.append(_encode(f"mp4 {name}", "audio/rvq", INVALID, "OK", file=data))
    for name, data in PLAYLISTS.items():
        for codec in ("image/vq", "audio/rvq", "video/inr"):
            cases.append(_encode(f"{name} to {codec}", codec, INVALID, file=data))
    nan = np.full((1, 9), np.nan, "<f4").tobytes()
    raw: dict[str, dict[str, Any]] = {
        "pixels that are not there": {"image": {"height": 10**9, "width": 10**9, "pixels": b"0"}},
        "no pixels of 4 G": {"image": {"height": 2**32 - 1, "width": 0, "pixels": b""}},
        "samples that are no numbers": {"audio": {"channels": 1, "sample_rate": 9, "samples": nan}},
        "no channels": {"audio": {"channels": 0, "sample_rate": 9, "samples": nan}},
        "half a sample": {"audio": {"channels": 1, "sample_rate": 9, "samples": b"abc"}},
        "65 channels": {"audio": {"channels": 65, "sample_rate": 9, "samples": bytes(65 * 4)}},
        "no kind": {},
    }
    for name, item in raw.items():
        codec = "audio/rvq" if "audio" in item else "image/vq"
        cases.append(_encode(name, codec, INVALID, EXHAUSTED, **item))
    clip = {"height": 2**31, "width": 2**31, "count": 2**31, "fps_numerator": 2**63, "frames": b""}
    for fps in (0, 1, 2**64 - 1):
        video = media_pb2.RawVideo(**clip, fps_denominator=fps)
        cases.append(_encode(f"a film at 1/{fps}", "video/inr", INVALID, EXHAUSTED, video=video))
    cases.append(_encode("a text to pictures", "image/vq", INVALID, text=b"abc"))
    series = {"channels": 1, "rate": float("nan"), "values": bytes(8)}
    cases.append(_encode("a series at no rate", "audio/rvq", INVALID, series=series))
    return cases


def token_cases() -> list[Case]:
    """Tokens and streams that no codec made."""
    (text,) = load("text/bytes").encode([Text(b"some text")])
    good = tokens_to_proto(text)

    def changed(**fields: Any) -> media_pb2.Tokens:
        message = media_pb2.Tokens()
        message.CopyFrom(good)
        for name, value in fields.items():
            message.ClearField(name)
            message.MergeFrom(media_pb2.Tokens(**{name: value}))
        return message

    tokens = {
        "no codec": changed(codec=""),
        "a path as codec": changed(codec="../../etc/passwd"),
        "a long codec": changed(codec="x" * 100_000),
        "a grid of 2^64": changed(grid=[2**64 - 1]),
        "a grid of rank 60": changed(grid=[1] * 60),
        "no grid": changed(grid=[]),
        "no codebooks": changed(codebooks=0),
        "4 G codebooks": changed(codebooks=2**32 - 1),
        "ids below 0": changed(ids=b"\xff" * 36),
        "ids cut off": changed(ids=good.ids[:-1]),
        "another extent": changed(extent={"bytes": 2**63 - 1}),
        "extents of nonsense": changed(extent={str(i): -(2**63) for i in range(40)}),
    }
    statuses = (INVALID, EXHAUSTED, "NOT_FOUND", "FAILED_PRECONDITION")
    cases = [
        Case(f"tokens: {name}", "Decode", pb.DecodeRequest(tokens=[message]), statuses)
        for name, message in tokens.items()
    ]
    fingerprint = load("audio/rvq").spec.fingerprint
    for name, extent in {
        "an hour in no tokens": {"samples": 10**9, "rate": 8000, "channels": 1},
        "sound at 0 Hz": {"samples": 1, "rate": 0, "channels": 1},
        "sound of fewer than no channels": {"samples": 1, "rate": 1, "channels": -1},
        "more samples than numbers": {"samples": 2**63 - 1, "rate": 2**31 - 1, "channels": 64},
    }.items():
        message = media_pb2.Tokens(
            codec="audio/rvq", fingerprint=fingerprint, codebooks=16, grid=[1, 1],
            ids=bytes(64), extent=extent,
        )  # fmt: skip
        cases.append(Case(name, "Decode", pb.DecodeRequest(tokens=[message]), statuses))
    stream = compress(Text(b"some text " * 30), "text/bytes")
    for name, data in {
        "no stream": b"",
        "noise": RNG.bytes(500),
        "a stream cut off": stream[:-3],
        "a stream and more": stream + b"\0",
        "a stream's head": stream[:8],
        "a flipped bit": bytes([*stream[:30], stream[30] ^ 4, *stream[31:]]),
        "a picture": Image(np.zeros((4, 4, 3), np.uint8)).to_bytes(".png"),
    }.items():
        for partial in (False, True):
            request = pb.DecompressRequest(streams=[data], partial=partial)
            right = (LOST, INVALID, EXHAUSTED, "NOT_FOUND", "FAILED_PRECONDITION", "OK")
            cases.append(Case(f"{name}, partial={partial}", "Decompress", request, right))
    return cases


def setting_cases() -> list[Case]:
    """Settings that there are not, and too much of what there is."""
    text = media_to_proto(Text(b"a"))
    many = pb.EncodeRequest(codec="text/bytes", items=[text] * 5000)
    with_output = pb.StartEncodeRequest(codec="text/bytes", item=text)
    with_output.MergeFromString(b"\x40\x63")  # output 99
    missing = (INVALID, "NOT_FOUND")
    return [
        Case("5,000 items", "Encode", many, (EXHAUSTED,)),
        Case("no codec", "Encode", pb.EncodeRequest(items=[text]), missing),
        Case("a codec's path", "Encode", pb.EncodeRequest(codec="text/../../x"), missing),
        Case("a version", "Encode", pb.EncodeRequest(codec="text/bytes@9e9"), missing),
        Case("quality", "Encode", pb.EncodeRequest(codec="text/bytes", quality=2**32 - 1), missing),
        Case("effort", "Encode", pb.EncodeRequest(codec="image/vq", effort="\0"), missing),
        Case("method", "Compress", pb.CompressRequest(codec="text/bytes", method="x"), missing),
        Case("a format", "Decode", _decode_to(".exe"), (INVALID, "OK")),
        Case("a format's path", "Decode", _decode_to("/etc/passwd"), (INVALID, "OK")),
        Case("an enum", "StartEncode", with_output, (INVALID, "UNIMPLEMENTED")),
        Case("a name", "GetCodec", pb.GetCodecRequest(name="\u202e" * 5000), missing),
    ]


def _decode_to(suffix: str) -> pb.DecodeRequest:
    (tokens,) = load("image/vq", device="cpu").encode([Image(np.zeros((4, 4, 3), np.uint8))])
    return pb.DecodeRequest(tokens=[tokens_to_proto(tokens)], format=suffix)


def cases() -> list[Case]:
    """Return the whole corpus."""
    return [*media_cases(), *token_cases(), *setting_cases()]


def honest() -> list[tuple[str, bytes]]:
    """Return honest requests, by the path of their method, for fuzzing to begin with."""
    picture = media_to_proto(Image(RNG.integers(0, 256, (20, 30, 3), np.uint8)))
    sound = media_to_proto(Audio(RNG.uniform(-0.5, 0.5, (1, 900)).astype(np.float32), 8000))
    text = media_to_proto(Text("some text, ünd möre".encode()))
    items = {"image/vq": picture, "audio/rvq": sound, "text/bytes": text, "text/bpe": text}
    found: list[tuple[str, Any]] = []
    for codec, item in items.items():
        media = MODALITIES[load(codec).spec.modality]
        tokens = tokens_to_proto(load(codec).encode([media_from_proto(item, media)])[0])
        stream = compress(media_from_proto(item, media), codec)
        found += [
            ("Encode", pb.EncodeRequest(codec=codec, items=[item] * 2)),
            ("Compress", pb.CompressRequest(codec=codec, items=[item])),
            ("Decode", pb.DecodeRequest(tokens=[tokens])),
            ("Decompress", pb.DecompressRequest(streams=[stream])),
            ("StartEncode", pb.StartEncodeRequest(codec=codec, item=item, request_id="a")),
            ("EncodeStream", pb.EncodeStreamRequest(config={"codec": codec, "output": 2})),
            ("EncodeStream", pb.EncodeStreamRequest(config={"codec": codec})),
            ("EncodeStream", pb.EncodeStreamRequest(piece=item)),
            ("DecodeStream", pb.DecodeStreamRequest(config={})),
            ("DecodeStream", pb.DecodeStreamRequest(tokens=tokens)),
            ("DecodeStream", pb.DecodeStreamRequest(stream=stream)),
        ]
    return [(f"omnicodec.v1.CodecService/{m}", r.SerializeToString()) for m, r in found]
