"""Documents of text and media in their order, in the layouts that data sets have them in."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from omnicodec.codecs import MODALITIES, InvalidInput, LimitExceeded
from omnicodec.service.batch.documents import Part
from omnicodec.service.batch.sources.values import Nearby, parts_of, text_part

OBELICS: Final = ("texts", "images")
"""Two lists of one length: where one holds a value, the other holds null."""

MMC4: Final = ("text_list", "image_info")
"""Sentences, and pictures that stand before the sentence of their `matched_text_index`."""

_MOST_PARTS: Final = 1 << 16
_TYPES: Final[Mapping[str, str]] = {
    **{name: name for name in MODALITIES},
    **{f"input_{name}": name for name in MODALITIES},
    **{f"{name}_url": name for name in MODALITIES},
    "output_text": "text",
}
_PICTURE: Final = ("bytes", "base64", "image_base64", "image", "path", "image_name")


def document_parts(value: Any, near: Nearby, name: str) -> Iterator[Part]:
    """Yield the parts of a list of strings, of {"type": …} objects, or of chat messages.

    Who says a message is not media and is left out. Raises `InvalidInput` for anything else, and
    `LimitExceeded` for a document of too many parts.
    """
    for one in _listed(value, name):
        match one:
            case str():
                yield text_part(one, near, name)
            case {"content": content}:  # a chat message
                if isinstance(content, str):
                    yield text_part(content, near, name)
                elif content is not None:
                    for part in _listed(content, name):
                        yield from _part(part, near, name)
            case _:
                yield from _part(one, near, name)


def _listed(value: Any, name: str) -> Sequence[Any]:
    if not isinstance(value, Sequence) or isinstance(value, str | bytes | bytearray):
        raise InvalidInput(f"{name!r} is not a list of parts")
    if len(value) > _MOST_PARTS:
        raise LimitExceeded(f"{len(value):,} parts of one document are over {_MOST_PARTS:,}")
    return value


def _part(value: Any, near: Nearby, name: str) -> Iterator[Part]:
    """Yield one part: {"type": "image", "image": …}, or what OpenAI's messages have."""
    if isinstance(value, str):
        yield text_part(value, near, name)
        return
    if not isinstance(value, Mapping):
        raise InvalidInput(f"a part in {name!r} is neither a string nor an object")
    kind = value.get("type")
    modality = _TYPES.get(kind) if isinstance(kind, str) else None
    if modality is None:
        known = ", ".join(sorted(MODALITIES))
        raise InvalidInput(f"a part in {name!r} is of type {kind!r}; known: {known}")
    named = (str(kind), modality, f"{modality}_url")
    for key in (*named, "bytes", "base64", "data", "path", "url"):
        if (held := value.get(key)) is not None:
            direct = key in named
            found = list(parts_of(held if direct else {key: held}, modality, near, name))
            if not found:
                raise InvalidInput(f"a part in {name!r} is empty")
            yield from found
            return
    raise InvalidInput(f"a part of type {kind!r} in {name!r} holds nothing that can be read")


def obelics_parts(texts: Any, images: Any, near: Nearby) -> Iterator[Part]:
    """Yield text and pictures of the layout of OBELICS (Laurençon et al. 2023, appendix)."""
    texts, images = _listed(texts, "texts"), _listed(images, "images")
    if len(texts) != len(images):
        raise InvalidInput(f"{len(texts):,} texts beside {len(images):,} images")
    for text, image in zip(texts, images, strict=True):
        if text is not None and image is not None:
            raise InvalidInput("a text and an image in one place of a document")
        yield from parts_of(text, "text", near, "texts")
        yield from parts_of(image, "image", near, "images")


def mmc4_parts(texts: Any, images: Any, near: Nearby) -> Iterator[Part]:
    """Yield sentences, each behind its pictures, of the layout of MMC4 (Zhu et al. 2023)."""
    texts = _listed(texts, "text_list")
    before: dict[int, list[Any]] = {}
    for image in _listed(images, "image_info"):
        index = image.get("matched_text_index") if isinstance(image, Mapping) else None
        if not isinstance(index, int) or isinstance(index, bool) or not 0 <= index < len(texts):
            raise InvalidInput(f"a picture matches the text {index!r} of {len(texts):,}")
        before.setdefault(index, []).append(image)
    for index, text in enumerate(texts):
        for image in before.get(index, ()):
            yield from _picture(image, near)
        yield from parts_of(text, "text", near, "text_list")


def _picture(image: Mapping[str, Any], near: Nearby) -> Iterator[Part]:
    for key in _PICTURE:
        if (held := image.get(key)) is not None:
            if key in ("path", "image_name") and isinstance(held, str):
                yield near.part(held, "image")
            else:
                yield from parts_of(held, "image", near, "image_info")
            return
    raise InvalidInput("a picture in 'image_info' has neither bytes nor a name; none is fetched")
