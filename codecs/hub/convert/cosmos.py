"""Cosmos's discrete tokenizers: TorchScript archives, of which only the tensors are read.

The names are those of NVIDIA's network definitions (github.com/NVIDIA/Cosmos-Tokenizer), which
become those of diffusers, of whose parts the same networks are built here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from omnicodec.codecs.errors import InvalidInput, Unavailable
from omnicodec.codecs.hub.convert.folder import Converted

if TYPE_CHECKING:
    import torch

VARIANTS: Final = {
    "DI8x8": (0, 8),
    "DI16x16": (0, 16),
    "DV4x8x8": (4, 8),
    "DV8x8x8": (8, 8),
    "DV8x16x16": (8, 16),
}
"""Frames of a token, 0 for pictures, and its pixels along height and width."""

# Levels that are published, where an archive does not hold its own.
_LEVELS: Final = (8, 8, 8, 5, 5, 5)

# Constants of the wavelets and of the quantizer, which are no weights.
_CONSTANTS: Final = re.compile(
    r".*\.(wavelets|_arange|patch_size_buffer|_levels|_basis|implicit_codebook)"
)

_NAMES: Final = (
    (r"\.conv3d\.", "."),
    (r"\.down\.(\d+)\.", r".down_blocks.\1."),
    (r"\.block\.(\d+)\.", r".resnets.\1."),
    (r"\.nin_shortcut\.", ".conv_shortcut."),
    (r"\.downsample\.", ".downsamplers.0."),
    (r"\.upsample\.", ".upsamplers.0."),
    (r"\.mid\.block_1\.", ".mid_block.resnets.0."),
    (r"\.mid\.block_2\.", ".mid_block.resnets.1."),
)
_ATTENTION: Final = ((r"\.([qkv])\.", r".to_\1."), (r"\.proj_out\.", ".to_out.0."))
_VIDEO: Final = (
    (r"\.mid\.attn_1\.0\.", ".mid_block.attentions.0."),
    (r"\.mid\.attn_1\.1\.", ".mid_block.temp_attentions.0."),
    # A convolution in space, and behind it one in time.
    (r"\.(conv\w*)\.0\.", r".\1.conv_s."),
    (r"\.(conv\w*)\.1\.", r".\1.conv_t."),
)
_PICTURE: Final = (
    (r"\.mid\.attn_1\.norm\.", ".mid_block.attentions.0.group_norm."),
    (r"\.mid\.attn_1\.", ".mid_block.attentions.0."),
    (r"\.norm_out\.", ".conv_norm_out."),
)


# Cosmos makes these everywhere, and uses them where the size changes.
_RESAMPLING: Final = re.compile(r".*\.(down|up)samplers\.0\.conv[123]\.(weight|bias)")


def read(variant: str, file: Path) -> Converted:
    """Return the network in the `autoencoder.jit` of a variant, as diffusers names its tensors.

    Raises `InvalidInput` when it is not that variant's.
    """
    try:
        from omnicodec.codecs.hub.convert.torchscript import read_tensors
        from omnicodec.codecs.hub.cosmos_fsq import (
            MODEL_TYPES,
            CosmosConfig,
            check_shapes,
            shapes_of,
        )
    except ImportError as e:
        raise Unavailable('converting needs: pip install "omnicodec[hub]"') from e
    held = read_tensors(file)
    video, name = VARIANTS[variant][0] > 0, repr(str(file))
    _check_wavelets(name, held)
    tensors = _renamed(held, video)
    stated = _configuration(name, variant, tensors, _levels(held))
    stated["model_type"] = MODEL_TYPES[video]
    config = CosmosConfig.of(stated, name)
    expected = shapes_of(config)
    unused = [k for k in tensors.keys() - expected.keys() if _RESAMPLING.fullmatch(k)]
    tensors = {key: tensor for key, tensor in tensors.items() if key not in unused}
    check_shapes(name, {key: tuple(tensor.shape) for key, tensor in tensors.items()}, expected)
    source = (
        f"Converted from `{file.name}` of Cosmos's {variant} (NVIDIA 2025, arXiv:2501.03575, "
        "https://github.com/NVIDIA/Cosmos-Tokenizer)."
    )
    return Converted(stated, tensors, source)


def _check_wavelets(name: str, held: Mapping[str, torch.Tensor]) -> None:
    """Raise `InvalidInput` where patches are made by anything but Haar's wavelet."""
    for key, tensor in held.items():
        values = tensor.flatten().tolist() if key.endswith(".wavelets") else []
        if any(abs(value - 0.5**0.5) > 0.01 for value in values):
            raise InvalidInput(f"{name} makes patches without Haar wavelets, which are known alone")


def _levels(held: Mapping[str, torch.Tensor]) -> list[int]:
    stored = held.get("quantizer._levels")
    return [int(n) for n in stored.flatten()[:99]] if stored is not None else list(_LEVELS)


def _renamed(held: Mapping[str, torch.Tensor], video: bool) -> dict[str, torch.Tensor]:
    """Return the weights under diffusers' names."""
    levels = _count(held, r"decoder\.up\.(\d+)\.")
    rules = (*_NAMES, *(_VIDEO if video else _PICTURE), *_ATTENTION)
    found = {}
    for key, tensor in held.items():
        if _CONSTANTS.fullmatch(key):
            continue
        # diffusers counts levels of the decoder from the coarsest.
        name = re.sub(r"\.up\.(\d+)\.", lambda m: f".up_blocks.{levels - 1 - int(m[1])}.", key)
        for theirs, ours in rules:
            name = re.sub(theirs, ours, name)
        linear = not video and re.search(r"\.attentions\.0\.to_\w+\.(0\.)?weight$", name)
        found[name] = tensor.flatten(1) if linear else tensor
    return found


def _configuration(
    name: str, variant: str, tensors: Mapping[str, torch.Tensor], levels: list[int]
) -> dict[str, Any]:
    """Return the numbers of the network that has these tensors."""
    temporal, spatial = VARIANTS[variant]
    axes = 3 if temporal else 2
    inner = ".conv_s.weight" if temporal else ".weight"

    def shape(key: str) -> tuple[int, ...]:
        found = tensors[key].shape if key in tensors else ()
        if len(found) != axes + 2:
            raise InvalidInput(f"{name} is no discrete Cosmos {variant}: {key} is not there")
        return found

    channels, patched = shape(f"encoder.conv_in{inner}")[:2]
    patches = [patch for patch in (1, 2, 4, 8) if 3 * patch**axes == patched]
    return {
        "spatial": spatial,
        "temporal": temporal,
        "patch": patches[0] if patches else 0,
        "channels": channels,
        "block_channels": [
            shape(f"encoder.down_blocks.{level}.resnets.0.conv1{inner}")[0]
            for level in range(_count(tensors, r"encoder\.down_blocks\.(\d+)\."))
        ],
        "layers": _count(tensors, r"encoder\.down_blocks\.0\.resnets\.(\d+)\."),
        "latent_channels": shape("quant_conv.weight")[1],
        "levels": levels,
    }


def _count(tensors: Mapping[str, torch.Tensor], pattern: str) -> int:
    return len({found[1] for name in tensors if (found := re.match(pattern, name))})
