"""Train a codec: `python scripts/train.py CODEC DATA -o RUN ...`, the same as `omnicodec train`."""

import sys

from omnicodec.service.cli import main

if __name__ == "__main__":
    main(["train", *sys.argv[1:]])
