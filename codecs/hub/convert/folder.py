"""What all conversions write: configuration, safetensors, and a card that tells the source."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from omnicodec.codecs.errors import InvalidInput, Unavailable
from omnicodec.codecs.files import atomic_write
from omnicodec.codecs.hub.files import CARD, CONFIG, WEIGHTS

if TYPE_CHECKING:
    import torch

_LICENCE: Final = re.compile(r"[\w.+() -]{1,100}", re.ASCII)


@dataclass(frozen=True)
class Converted:
    """A network's configuration and tensors, and a sentence that says where they are from."""

    config: Mapping[str, Any]
    tensors: Mapping[str, torch.Tensor]
    source: str


def write_folder(out: Path, converted: Converted, licence: str = "") -> None:
    """Write the folder that `load(out)` opens; its card states the licence, where one is given.

    Raises `InvalidInput` for a folder that is there already, for one that cannot be written, and
    for a licence that is no short name.
    """
    if licence and not _LICENCE.fullmatch(licence):
        raise InvalidInput(f"{licence!r} is no name of a licence")
    try:
        from safetensors.torch import save
    except ImportError as e:
        raise Unavailable('converting needs: pip install "omnicodec[hub]"') from e
    try:
        out.mkdir(parents=True)
    except OSError as e:
        raise InvalidInput(f"cannot make the folder {str(out)!r}: {e.strerror or e}") from e
    # Copies, since tensors of one archive may share memory, which safetensors refuses.
    tensors = {
        name: tensor.detach().clone().contiguous() for name, tensor in converted.tensors.items()
    }
    atomic_write(out / WEIGHTS[0], save(tensors, {"format": "pt"}))
    stated = f"---\nlicense: {licence}\n---\n\n" if licence else ""
    atomic_write(out / CARD, f"{stated}{converted.source}\n".encode())
    # The last, so that a folder with a configuration is whole.
    atomic_write(out / CONFIG, (json.dumps(dict(converted.config), indent=2) + "\n").encode())
