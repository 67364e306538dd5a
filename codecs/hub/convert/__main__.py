"""The command line: `python -m omnicodec.codecs.hub.convert llamagen vq_ds16_c2i.pt OUT`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from omnicodec.codecs.errors import OmnicodecError, error_codes
from omnicodec.codecs.hub.convert import cosmos, llamagen
from omnicodec.codecs.hub.convert.folder import write_folder

_WARNING = (
    "The file is unpacked by a reader that runs nothing of it. Such readers have had holes: run "
    "this where a hostile file does no harm, on files whose source you trust."
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    asked = _parser().parse_args(arguments)
    try:
        write_folder(asked.out, asked.read(asked), asked.licence)
    except OmnicodecError as e:
        print(f"error: {e}", file=sys.stderr)
        return error_codes(e).exit_code
    print(f"{asked.out} is written: omnicodec codecs hf:{asked.out}")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m omnicodec.codecs.hub.convert",
        description=f"Writes a folder with safetensors that omnicodec opens. {_WARNING}",
    )
    families = parser.add_subparsers(required=True, metavar="FAMILY")
    family = families.add_parser(
        "llamagen",
        help="LlamaGen's tokenizers of pictures (vq_ds16_c2i.pt, vq_ds8_c2i.pt, vq_ds16_t2i.pt)",
        description=f"Converts a checkpoint of LlamaGen's VQ. {_WARNING}",
    )
    family.set_defaults(read=lambda asked: llamagen.read(asked.file))
    family.add_argument("file", type=Path, help="the checkpoint")
    family = families.add_parser(
        "cosmos",
        help="Cosmos's discrete tokenizers of pictures and video (autoencoder.jit)",
        description=f"Converts a discrete tokenizer of Cosmos. {_WARNING}",
    )
    family.set_defaults(read=lambda asked: cosmos.read(asked.variant, asked.file))
    family.add_argument("variant", choices=cosmos.VARIANTS, help="as in the repository's name")
    family.add_argument("file", type=Path, help="its autoencoder.jit")
    for each in families.choices.values():
        each.add_argument("out", type=Path, help="the folder to write, which must not be there")
        each.add_argument("--licence", default="", help="that of the weights, for the card")
    return parser


if __name__ == "__main__":
    sys.exit(main())
