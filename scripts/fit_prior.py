"""Fit the prior of exported weights anew, without training the network.

For the weights of `audio/rvq`, `image/rate`, `image/vq` and `image/vq8`, from sounds or
pictures; the prior of `image/rate` is trained on for `--minutes` from where it is. Takes
minutes on one core, and replaces the prior in the folder; streams that were made with the old
one are then refused.
Usage: python scripts/fit_prior.py WEIGHTS DATA, such as models/weights/audio/rvq data/train
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path


def show(**values: float) -> None:
    """Print what a stage says."""
    print("  ".join(f"{name} {value:.6g}" for name, value in values.items()), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("weights", type=Path, help="folder with config.json and weights")
    parser.add_argument("data", type=Path, help="media: a folder of files or of .tar shards")
    parser.add_argument("--held-out", type=float, default=0.1, help="share that mixers learn on")
    parser.add_argument("--minutes", type=float, default=10.0, help="for networks of priors")
    arguments = parser.parse_args()
    config = json.loads((arguments.weights / "config.json").read_text())
    if config.get("codec") == "image/rate":
        from omnicodec.service.train import image_rate as rate

        networks = rate.RatePriorSettings(minutes=arguments.minutes)
        rate.refit_prior(arguments.weights, arguments.data, networks, show)
    elif config.get("codec", "").startswith("image/vq"):
        from omnicodec.service.train import image_vq_prior as image

        pictures = image.ImagePriorSettings(held_out=arguments.held_out)
        image.refit_prior(arguments.weights, arguments.data, pictures, show)
    else:
        from omnicodec.service.train import audio_prior as audio

        sounds = audio.AudioPriorSettings(held_out=arguments.held_out)
        audio.refit_prior(arguments.weights, arguments.data, sounds, show)


if __name__ == "__main__":
    main()
