"""LlamaGen's VQ (Sun et al. 2024, arXiv:2406.06525): a pickled state without a configuration.

The network is that of Janus, under other names; its numbers follow from the tensors' shapes.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from omnicodec.codecs.errors import InvalidInput, Unavailable
from omnicodec.codecs.hub.convert.folder import Converted
from omnicodec.codecs.hub.libraries import check_report, one_line

if TYPE_CHECKING:
    import torch

MODEL_TYPE: Final = "llamagen_vq"

# Where a checkpoint has its weights, in the order in which LlamaGen's own scripts look.
_STATES: Final = ("ema", "model", "state_dict")

_USAGE: Final = "quantize.codebook_used"  # counts of the training

_NAMES: Final = (
    ("encoder.conv_blocks.", "encoder.down."),
    ("decoder.conv_blocks.", "decoder.up."),
    (".res.", ".block."),
    (".mid.0.", ".mid.block_1."),
    (".mid.1.", ".mid.attn_1."),
    (".mid.2.", ".mid.block_2."),
)


def read(file: Path) -> Converted:
    """Return the network in a checkpoint, as `JanusVQVAE` names its tensors.

    Raises `InvalidInput` when it is not LlamaGen's, or holds anything but tensors.
    """
    tensors = {_renamed(name): tensor for name, tensor in _state(file).items() if name != _USAGE}
    config = _configuration(str(file), tensors)
    _check(str(file), config, tensors)
    source = (
        f"Converted from `{file.name}`, in the layout of LlamaGen's VQ (Sun et al. 2024, "
        "arXiv:2406.06525, https://github.com/FoundationVision/LlamaGen)."
    )
    return Converted(config, tensors, source)


def _state(file: Path) -> Mapping[str, torch.Tensor]:
    """Return the tensors of a checkpoint by their names."""
    try:
        import torch
    except ImportError as e:
        raise Unavailable('converting needs: pip install "omnicodec[hub]"') from e
    try:
        # Its own training keeps its arguments beside the weights, in this class that does nothing.
        with torch.serialization.safe_globals([argparse.Namespace]):
            found = torch.load(file, map_location="cpu", weights_only=True, mmap=True)
    except OSError as e:
        raise InvalidInput(f"cannot read {str(file)!r}: {e.strerror or e}") from e
    except Exception as e:  # the reader raises anything
        raise InvalidInput(f"{str(file)!r} is no archive of tensors alone: {one_line(e)}") from e
    kept = [found[key] for key in _STATES if key in found] if isinstance(found, dict) else []
    state = kept[0] if kept else None
    if not isinstance(state, Mapping) or not all(
        isinstance(name, str) and isinstance(tensor, torch.Tensor) for name, tensor in state.items()
    ):
        raise InvalidInput(f"{str(file)!r} has no weights under {' or '.join(_STATES)}")
    return state


def _renamed(name: str) -> str:
    for theirs, ours in _NAMES:
        name = name.replace(theirs, ours)
    return name


def _configuration(name: str, tensors: Mapping[str, torch.Tensor]) -> dict[str, Any]:
    """Return the configuration, in the fields of `JanusVQVAEConfig`."""

    def shape(key: str, axes: int = 4) -> tuple[int, ...]:
        found = tensors[key].shape if key in tensors else ()
        if len(found) != axes or not all(found):
            raise InvalidInput(f"{name!r} is no checkpoint of LlamaGen's VQ: {key} is not there")
        return found

    base, channels = shape("encoder.conv_in.weight")[:2]
    entries, width = shape("quantize.embedding.weight", 2)
    widths = [
        shape(f"encoder.down.{level}.block.0.conv1.weight")[0]
        for level in range(_count(tensors, r"encoder\.down\.(\d+)\."))
    ]
    return {
        "model_type": MODEL_TYPE,
        "base_channels": base,
        "channel_multiplier": [found // base for found in widths],
        "num_res_blocks": _count(tensors, r"encoder\.down\.0\.block\.(\d+)\."),
        "in_channels": channels,
        "out_channels": shape("decoder.conv_out.weight")[0],
        "latent_channels": shape("encoder.conv_out.weight")[0],
        "embed_dim": width,
        "num_embeddings": entries,
    }


def _count(tensors: Mapping[str, torch.Tensor], pattern: str) -> int:
    return len({found[1] for name in tensors if (found := re.match(pattern, name))})


def _check(name: str, config: Mapping[str, Any], tensors: Mapping[str, torch.Tensor]) -> None:
    """Raise `InvalidInput` unless the tensors are all of the network's, and no others."""
    import torch
    from transformers import JanusVQVAE, JanusVQVAEConfig

    try:
        with torch.device("meta"):
            network = JanusVQVAE(JanusVQVAEConfig(**_without_type(config)))
    except Exception as e:  # what there is no network of
        raise InvalidInput(f"{name!r} is no checkpoint of LlamaGen's VQ: {one_line(e)}") from e
    ours = {key: tuple(tensor.shape) for key, tensor in network.state_dict().items()}
    if unknown := sorted(tensors.keys() - ours.keys()):
        raise InvalidInput(f"{name!r} is not LlamaGen's VQ as published: it has {unknown[0]}")
    theirs = {key: tuple(tensor.shape) for key, tensor in tensors.items()}
    check_report(
        repr(name),
        sorted(ours.keys() - theirs.keys()),
        [(key, theirs[key], ours[key]) for key in theirs if theirs[key] != ours[key]],
    )


def _without_type(config: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in config.items() if key != "model_type"}
