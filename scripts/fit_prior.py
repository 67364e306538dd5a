"""Fit the prior of exported weights of `audio/rvq` anew, without training the network.

Takes minutes on one core, and replaces the prior in the folder; streams that were made with the
old one are then refused.
Usage: python scripts/fit_prior.py WEIGHTS DATA, such as models/weights/audio/rvq data/train
"""

from __future__ import annotations

import argparse
from pathlib import Path

from omnicodec.service.train.audio_prior import AudioPriorSettings, refit_prior


def show(**values: float) -> None:
    """Print what a stage says."""
    print("  ".join(f"{name} {value:.6g}" for name, value in values.items()), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("weights", type=Path, help="folder with config.json and model.safetensors")
    parser.add_argument("data", type=Path, help="sounds: a folder of files or of .tar shards")
    parser.add_argument("--held-out", type=float, default=0.1, help="share that mixers learn on")
    arguments = parser.parse_args()
    settings = AudioPriorSettings(held_out=arguments.held_out)
    refit_prior(arguments.weights, arguments.data, settings, show)


if __name__ == "__main__":
    main()
