"""One table for exit codes and gRPC statuses."""

from __future__ import annotations

from omnicodec.codecs import errors


def test_every_error_has_codes_of_its_own() -> None:
    kinds = errors.OmnicodecError.__subclasses__()
    codes = [errors.error_codes(kind("why")) for kind in kinds]
    assert len({c.exit_code for c in codes}) == len(kinds) == len(errors.ERROR_CODES)
    assert len({c.grpc_status for c in codes}) == len(kinds)
    assert {errors.error_codes(errors.CorruptStream("")).exit_code} == {4}


def test_subclasses_inherit_codes() -> None:
    class Special(errors.InvalidInput):
        pass

    assert errors.error_codes(Special("")) == errors.ERROR_CODES[errors.InvalidInput]
    assert errors.error_codes(errors.OmnicodecError("")).exit_code == 1
