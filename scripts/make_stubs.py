"""Generate the Python stubs of proto/ with grpcio-tools 1.76, beside the .proto files.

Imports of google/ are found in grpcio-tools and in googleapis-common-protos. Stubs of that
version (gencode of protobuf 6.31) import under protobuf 6 and 7; newer ones refuse protobuf 6.
Usage: python scripts/make_stubs.py [--out DIR]
"""

from __future__ import annotations

import argparse
import sys
from importlib.metadata import version
from pathlib import Path

GENERATOR = "1.76"
ROOT = Path(__file__).resolve().parent.parent / "proto"


def make_stubs(out: Path) -> None:
    """Write `*_pb2.py`, `*_pb2.pyi` and `*_pb2_grpc.py` for every .proto file below `out`."""
    import grpc_tools
    from google.longrunning import operations_pb2
    from grpc_tools import protoc

    common = Path(operations_pb2.__file__).parents[2]
    included = (
        ROOT,
        Path(grpc_tools.__file__).parent / "_proto",
        common,
        # The package ships this file under another name than all others import it by.
        f"google/longrunning/operations.proto={common}/google/longrunning/operations_proto.proto",
    )
    paths = [f"-I{path}" for path in included]
    sources = list(map(str, sorted(ROOT.rglob("*.proto"))))
    services = [path for path in sources if "\nservice " in Path(path).read_text()]
    if protoc.main(["protoc", *paths, f"--python_out={out}", f"--pyi_out={out}", *sources]):
        sys.exit("protoc failed")
    if protoc.main(["protoc", *paths, f"--grpc_python_out={out}", *services]):
        sys.exit("protoc failed")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=ROOT, help="folder to write to")
    arguments = parser.parse_args()
    found = version("grpcio-tools")
    if not found.startswith(GENERATOR):
        sys.exit(f"stubs are made with grpcio-tools {GENERATOR}, not {found}")
    make_stubs(arguments.out)


if __name__ == "__main__":
    main()
