"""image/inr beside WebP and AVIF, video/inr beside x264, x265, SVT-AV1 and HNeRV: curves, speed."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from benches import _points
from benches._hnerv import hnerv, same_psnr
from benches._points import Points, Say

from omnicodec.codecs import Image, InvalidInput, Video, Work, load
from omnicodec.codecs.registry import AnyCodec
from omnicodec.codecs.stream import write_tokens
from omnicodec.service.evaluate.anchors import Anchor, choose
from omnicodec.service.evaluate.data import Source
from omnicodec.service.evaluate.table import markdown, number

IMAGE_METRICS = ("psnr", "ms_ssim")


def arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--images", type=Path, help="folder, file or .tar shard of pictures")
    add("--clips", type=Path, nargs="+", default=[], help="files of video; HNeRV gets the first")
    add("--image-weights", type=Path, help="folder; default: those shipped")
    add("--video-weights", type=Path, help="folder; default: those shipped")
    add("--max-pictures", type=int, default=4, help="default: %(default)s")
    add(
        "--fit-pictures",
        type=int,
        help="so many of them with other efforts than the first; default: all",
    )
    add("--image-qualities", type=_numbers, default="20,35,50", help="default: %(default)s")
    add("--image-efforts", default="fast,normal", help="default: %(default)s")
    add("--image-against", default="webp,avif", help="default: %(default)s")
    add("--frames", type=int, default=64, help="of each clip; default: %(default)s")
    add(
        "--crop",
        type=_size,
        help="HEIGHTxWIDTH: the middle of clips that are as large; smaller ones stay whole",
    )
    add("--video-qualities", type=_numbers, default="20,35,50", help="default: %(default)s")
    add("--video-efforts", default="fast", help="default: %(default)s")
    add("--video-against", default="x264,x265,svtav1", help="default: %(default)s")
    add("--ms-ssim", action="store_true", help="measure MS-SSIM of video as well")
    add("--hnerv-minutes", type=float, default=0.0, help="to fit HNeRV in; default: none of it")
    add("--hnerv-quality", type=int, default=40, help="its size; default: %(default)s")
    add("--threads", type=int, default=2, help="of encoders, and decoders of video; default: 2")
    add("--device", default="cpu", help="default: %(default)s")


def run(options: argparse.Namespace) -> tuple[str, dict[str, Any]]:
    import torch

    def say(line: str) -> None:
        print(line, file=sys.stderr, flush=True)

    if options.images is None and not options.clips:
        raise InvalidInput("there is nothing to measure: give --images, --clips or both")
    if options.hnerv_minutes and not options.clips:
        raise InvalidInput("HNeRV is fitted to the first of --clips, and there is none")
    torch.set_num_threads(options.threads)
    anchors = {
        "image": choose("image", _words(options.image_against)) if options.images else [],
        "video": choose("video", _words(options.video_against)) if options.clips else [],
    }
    figures: dict[str, Any] = {
        "formats": {
            a.title: f"{a.version()}, {a.options}" for found in anchors.values() for a in found
        },
        "image": _image(options, anchors["image"], say) if options.images else None,
        "video": None,
        "hnerv": None,
    }
    if options.clips:
        figures["video"], figures["hnerv"] = _video(options, anchors["video"], say)
    return "\n\n".join(_tables(figures, options)), figures


def open_codec(name: str, folder: Path | None, device: str) -> AnyCodec:
    """Return a codec with weights of a folder, or with those shipped."""
    if folder is None:
        return load(name, device=device)
    # Not `load`, which asks for shipped ones too: here there may be none yet.
    if name == "image/inr":
        from omnicodec.codecs.image.inr import ImageInrCodec

        return ImageInrCodec.from_folder(folder, device=device)
    from omnicodec.codecs.video.inr import VideoInrCodec

    return VideoInrCodec.from_folder(folder, device=device)


def _image(options: argparse.Namespace, anchors: Sequence[Anchor], say: Say) -> dict[str, Any]:
    codec = open_codec("image/inr", options.image_weights, options.device)
    kind = _points.kind_of("image", IMAGE_METRICS)
    source = Source(options.images, Image, say)
    pictures = dict(islice(source, options.max_pictures))
    if not pictures:
        raise InvalidInput(f"there are no pictures in {str(options.images)!r}")
    efforts, ways = _words(options.image_efforts), (options.threads, 1)
    first = next(iter(pictures.values()))
    assert isinstance(first, Image)
    small = Image(np.ascontiguousarray(first.pixels[:64, :64]))
    ours = []
    for effort in efforts:
        _warm_up(codec, small, effort, ways)
        count = options.fit_pictures if effort != efforts[0] else None
        settings = {}
        for quality in options.image_qualities:
            settings[str(quality)] = [
                _points.of_codec(codec, kind, name, image, quality, effort, ways)
                for name, image in islice(pictures.items(), count)
            ]
            seconds = sum(item.seconds.compress for item in settings[str(quality)])
            say(f"image/inr, {effort}, quality {quality}: {seconds:.1f} s")
        ours.append(Points(f"image/inr {effort}", settings, anchor=False))
    forms = [_points.of_anchor(anchor, kind, pictures, say) for anchor in anchors]
    return {
        **_about(codec),
        "threads": {"encode": ways[0], "decode": ways[1]},
        "curves": {one.title: one.to_dict() for one in (*ours, *forms)},
        "bd_rate": _points.rates(kind, ours, forms),
    }


def _video(
    options: argparse.Namespace, anchors: Sequence[Anchor], say: Say
) -> tuple[dict[str, Any], dict[str, Any] | None]:
    codec = open_codec("video/inr", options.video_weights, options.device)
    kind = _points.kind_of("video", _video_metrics(options))
    efforts, ways = _words(options.video_efforts), (options.threads, options.threads)
    figures: dict[str, Any] = {**_about(codec), "threads": options.threads, "clips": {}}
    reference: dict[str, Any] | None = None
    for path in options.clips:
        clip = _clip(path, options.frames, options.crop)
        if not figures["clips"]:
            small = Video(np.ascontiguousarray(clip.frames[:3, :64, :64]), clip.fps)
            _warm_up(codec, small, efforts[0], ways)
        ours = []
        for effort in efforts:
            settings = {}
            for quality in options.video_qualities:
                item = _points.of_codec(codec, kind, path.name, clip, quality, effort, ways)
                settings[str(quality)] = [item]
                say(f"video/inr, {effort}, {path.name}, {quality}: {item.seconds.compress:.1f} s")
            ours.append(Points(f"video/inr {effort}", settings, anchor=False))
        forms = [_points.of_anchor(anchor, kind, {path.name: clip}, say) for anchor in anchors]
        name = path.name if path.name not in figures["clips"] else str(path)
        figures["clips"][name] = {
            "size": kind.size(clip),
            "frames": len(clip.frames),
            "curves": {one.title: one.to_dict() for one in (*ours, *forms)},
            "bd_rate": _points.rates(kind, ours, forms),
        }
        if options.hnerv_minutes and reference is None:
            reference = hnerv(
                codec, kind, path.name, clip,
                quality=options.hnerv_quality, minutes=options.hnerv_minutes,
                device=options.device, ways=ways, say=say,
            )  # fmt: skip
            measure = partial(
                _points.of_codec, codec, kind, path.name, clip, effort=efforts[0], ways=ways
            )
            points = {int(q): items[0] for q, items in ours[0].settings.items()}
            reference["same_psnr"] = same_psnr(measure, points, reference["psnr"])
    return figures, reference


def _clip(path: Path, frames: int, crop: tuple[int, int] | None) -> Video:
    """Return the first frames of a file, or their middle."""
    with Video.stream(path, frames=frames) as reader:
        pixels, fps = reader.read(frames), reader.fps
    if not pixels.size:
        raise InvalidInput(f"{path.name} has no frames")
    height, width = pixels.shape[1:3]
    if crop and crop[0] <= height and crop[1] <= width:
        top, left = (height - crop[0]) // 2, (width - crop[1]) // 2
        pixels = pixels[:, top : top + crop[0], left : left + crop[1]]
    return Video(np.ascontiguousarray(pixels), fps)


def _warm_up(codec: AnyCodec, item: Image | Video, effort: str, ways: tuple[int, int]) -> None:
    """Have what is compiled and allocated the first time done before anything is timed."""
    for count in sorted(set(ways)):
        with _points.threads(count):
            (tokens,) = codec.encode([item], effort=effort, work=Work(enough=lambda _: True))
            _points.decoded(codec, write_tokens(tokens, codec), count)


def _about(codec: AnyCodec) -> dict[str, Any]:
    spec = codec.spec
    return {
        "codec": spec.name,
        "version": spec.version,
        "fingerprint": spec.fingerprint,
        "weight_bytes": spec.weight_bytes,
    }


def _numbers(words: str) -> list[int]:
    return [int(word) for word in _words(words)]


def _words(words: str) -> list[str]:
    return [word for word in words.split(",") if word]


def _size(words: str) -> tuple[int, int]:
    height, width = map(int, words.split("x"))
    if min(height, width) < 1:
        raise ValueError(words)
    return height, width


def _tables(figures: Mapping[str, Any], options: argparse.Namespace) -> Iterator[str]:
    if found := figures["image"]:
        kind = _points.kind_of("image", IMAGE_METRICS)
        header = ["pictures", "setting", "of them", "bpp", *(m.heading for m in kind.metrics)]
        rows = [
            [
                title,
                setting,
                str(len(row["items"])),
                number(row["rate"], 3),
                *(number(row[metric.name], metric.digits) for metric in kind.metrics),
                number(row["encode_seconds"]),
                number(row["decode_seconds"]),
            ]
            for title, curve in found["curves"].items()
            for setting, row in curve.items()
        ]
        yield markdown([*header, "encode s", "decode s"], rows)
        yield _points.rate_table("pictures", kind, found["bd_rate"])
    if found := figures["video"]:
        kind = _points.kind_of("video", _video_metrics(options))
        for name, clip in found["clips"].items():
            header = [
                f"{name}, {clip['size']}",
                "setting",
                "bpp",
                *(m.heading for m in kind.metrics),
            ]
            rows = [
                [
                    title,
                    setting,
                    number(row["rate"], 4),
                    *(number(row[metric.name], metric.digits) for metric in kind.metrics),
                    number(row["encode_seconds"] / clip["frames"]),
                    number(clip["frames"] / row["decode_seconds"]),
                ]
                for title, curve in clip["curves"].items()
                for setting, row in curve.items()
            ]
            yield markdown([*header, "encode s/frame", "decode frames/s"], rows)
            yield _points.rate_table(name, kind, clip["bd_rate"])
    if found := figures["hnerv"]:
        yield _hnerv_table(found)
    yield "\n".join(f"{title}: {what}" for title, what in figures["formats"].items())


def _hnerv_table(found: Mapping[str, Any]) -> str:
    header = ["parameters", "epochs", "bytes", "bpp", "PSNR dB", "encode s", "decode s"]
    same = found["same_psnr"]
    where = " to ".join(map(str, same["qualities"]))
    fitted = f"HNeRV, {found['minutes']:g} minutes on {found['device']}"
    size = f"{found['parameters'] / 1e6:.3g} million"
    rows = [
        [fitted, size, f"{found['epochs']:.4g} of {found['epochs_planned']}", *_costs(found)],
        [f"video/inr, quality {where}", "-", "-", *_costs(same)],
    ]
    return markdown([f"{found['clip']}, {found['size']}", *header], rows)


def _costs(row: Mapping[str, Any]) -> list[str]:
    seconds = [number(row[key]) for key in ("encode_seconds", "decode_seconds")]
    return [f"{row['bytes']:,}", number(row["rate"], 4), number(row["psnr"], 2), *seconds]


def _video_metrics(options: argparse.Namespace) -> tuple[str, ...]:
    return ("psnr", "psnr_yuv", "ms_ssim") if options.ms_ssim else ("psnr", "psnr_yuv")
