"""`python -m omnicodec.service.cli` is the console script `omnicodec`."""

from omnicodec.service.cli import main

if __name__ == "__main__":
    main()
