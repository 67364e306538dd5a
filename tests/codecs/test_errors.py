"""One table for exit codes and gRPC statuses."""

from __future__ import annotations

from omnicodec.codecs import errors


def test_every_error_has_codes_of_its_own() -> None:
    # The service has errors of its own, with statuses of their own.
    every = errors.OmnicodecError.__subclasses__()
    kinds = [kind for kind in every if kind.__module__ == errors.__name__]
    codes = [errors.error_codes(kind("why")) for kind in kinds]
    assert len({c.exit_code for c in codes}) == len(kinds) == len(errors.ERROR_CODES)
    assert len({c.grpc_status for c in codes}) == len(kinds)
    assert {errors.error_codes(errors.CorruptStream("")).exit_code} == {4}


def test_subclasses_inherit_codes() -> None:
    class Special(errors.InvalidInput):
        pass

    assert errors.error_codes(Special("")) == errors.ERROR_CODES[errors.InvalidInput]
    assert errors.error_codes(errors.OmnicodecError("")).exit_code == 1
