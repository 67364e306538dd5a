"""Maps the folders of this repository onto the namespace package `omnicodec`."""

from setuptools import find_packages, setup

FOLDERS = {
    "omnicodec.codecs": "codecs",
    "omnicodec.models": "models",
    "omnicodec.service": "service",
    "omnicodec.inference": "proto/omnicodec/inference",
    "omnicodec.v1": "proto/omnicodec/v1",
}
PACKAGES = [f"{top}.{name}" for top, path in FOLDERS.items() for name in find_packages(path)]

setup(packages=[*FOLDERS, *PACKAGES], package_dir=FOLDERS)
