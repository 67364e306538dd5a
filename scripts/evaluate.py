"""Measure a codec: `python scripts/evaluate.py -c CODEC DATA ...`, as `omnicodec evaluate`."""

import sys

from omnicodec.service.cli import main

if __name__ == "__main__":
    main(["evaluate", *sys.argv[1:]])
