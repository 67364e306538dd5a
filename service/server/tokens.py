"""Bearer tokens: a TOML file of their hashes, and what the holder of each may do.

    [tokens.training]                  # a name, for logs, metrics and operations
    sha256 = "9f86d0818884..."         # of the token; or a list of them, while it is replaced
    requests_per_second = 50           # and all of these may be left out
    concurrent = 32
    bytes_per_minute = 2_000_000_000   # of requests
    codecs = ["image/*", "text/bytes"]
    methods = ["Encode", "omnicodec.v1.CodecService/*"]
    admin = false                      # whether it sees the operations of others

Only hashes are kept, since a file of tokens is as good as the tokens. No salt or slow hash is
needed for random tokens of 128 bits or more; `MIN_CHARACTERS` keeps short ones out.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import threading
import time
import tomllib
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, ClassVar, Final

from omnicodec.codecs import InvalidInput, LimitExceeded, Unavailable
from omnicodec.service.server.refusals import Refusal
from omnicodec.service.server.watched import Watched

MIN_CHARACTERS: Final = 16

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_DIGEST: Final = re.compile(r"[0-9a-f]{64}")


class NotAuthenticated(Refusal, InvalidInput):
    """A call has no token, or one that nobody holds."""

    grpc_status: ClassVar[str] = "UNAUTHENTICATED"


class NotAllowed(Refusal, InvalidInput):
    """The holder of this token may not do that."""

    grpc_status: ClassVar[str] = "PERMISSION_DENIED"


class OverQuota(LimitExceeded):
    """The holder of a token has used up what it may; after `retry_seconds` there is more."""

    def __init__(self, message: str, retry_seconds: float) -> None:
        super().__init__(message)
        self.retry_seconds = retry_seconds


def hash_token(token: str) -> str:
    """Return the SHA-256 of a token as a file has it; raises `InvalidInput` for a short one."""
    if len(token) < MIN_CHARACTERS:
        raise InvalidInput(f"a token has at least {MIN_CHARACTERS} characters")
    if not token.isascii() or not token.isprintable() or " " in token:
        raise InvalidInput("a token has ASCII letters, digits and signs, no spaces")
    return hashlib.sha256(token.encode()).hexdigest()


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What the holder of a token may do; None is no limit of its own."""

    requests_per_second: float | None = None
    concurrent: int | None = None
    bytes_per_minute: int | None = None
    codecs: tuple[str, ...] | None = None
    methods: tuple[str, ...] | None = None
    admin: bool = False


class Bucket:
    """A token bucket: so much a second flows in, and at most `capacity` of it is kept."""

    def __init__(self, a_second: float, capacity: float) -> None:
        self._a_second, self._capacity = a_second, capacity
        self._level = capacity
        self._filled = time.monotonic()

    def take(self, amount: float) -> float:
        """Take `amount` and return 0, or return the seconds until there is enough.

        More than the bucket holds is taken from a full one, which then owes the rest.
        """
        now = time.monotonic()
        self._level = min(self._capacity, self._level + (now - self._filled) * self._a_second)
        self._filled = now
        missing = min(amount, self._capacity) - self._level
        if missing > 0:
            return missing / self._a_second
        self._level -= amount
        return 0.0


@dataclass
class Usage:
    """What a holder has used lately; kept when the file is read again."""

    requests: Bucket | None = None
    nbytes: Bucket | None = None
    concurrent: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)


class Holder:
    """Who calls: a name, empty where no tokens are asked for, its limits and its use of them."""

    def __init__(
        self, name: str = "", limits: Limits | None = None, usage: Usage | None = None
    ) -> None:
        self.name = name
        self.limits = limits or Limits()
        self._usage = usage or Usage()

    def succeed(self, before: Holder) -> None:
        """Go on from the use of the same holder under its limits of before."""
        self._usage = before._usage
        if before.limits != self.limits:
            with self._usage.lock:
                self._usage.requests = self._usage.nbytes = None

    def check_method(self, method: str) -> None:
        """Raise `NotAllowed` unless the holder may call "package.Service/Method"."""
        allowed = self.limits.methods
        name = method.rpartition("/")[2]
        if allowed is not None and not any(
            fnmatchcase(method if "/" in pattern else name, pattern) for pattern in allowed
        ):
            raise NotAllowed(f"this token is not for {name}")

    def check_codec(self, codec: str) -> None:
        """Raise `NotAllowed` unless the holder may use a codec, named without a version."""
        allowed = self.limits.codecs
        if allowed is not None and not any(fnmatchcase(codec, pattern) for pattern in allowed):
            raise NotAllowed(f"this token is not for {codec}")

    def begin(self) -> None:
        """Count a request that begins; `end` must follow. Raises `OverQuota`."""
        limits, usage = self.limits, self._usage
        with usage.lock:
            if limits.concurrent is not None and usage.concurrent >= limits.concurrent:
                raise OverQuota(
                    f"this token is for {limits.concurrent} requests at a time", _BUSY_SECONDS
                )
            rate = limits.requests_per_second
            if rate is not None:
                if usage.requests is None:
                    usage.requests = Bucket(rate, max(1.0, rate))
                if wait := usage.requests.take(1):
                    raise OverQuota(f"this token is for {rate:g} requests a second", wait)
            usage.concurrent += 1

    def end(self) -> None:
        """Count out a request that `begin` let in."""
        with self._usage.lock:
            self._usage.concurrent -= 1

    def spend_bytes(self, nbytes: int) -> None:
        """Count what a message brought; raises `OverQuota` where it is over the minute's bytes."""
        most, usage = self.limits.bytes_per_minute, self._usage
        if most is None:
            return
        with usage.lock:
            if usage.nbytes is None:
                usage.nbytes = Bucket(most / 60, most)
            if wait := usage.nbytes.take(nbytes):
                raise OverQuota(f"this token is for {most:,} bytes a minute", wait)


_BUSY_SECONDS: Final = 0.5
"""When to ask again, where others of the same token have to end first."""


class Tokens:
    """The tokens in a file, read again when it changes.

    Raises `InvalidInput` for a file that is wrong and `Unavailable` for one that is not there.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._holders: dict[str, Holder] = {}
        self._file = Watched([path], self._read)

    def holder(self, authorization: str | bytes | None) -> Holder:
        """Return who sent an `authorization` of "Bearer TOKEN"; raises `NotAuthenticated`.

        Takes the same time whichever token it is.
        """
        if authorization is None:
            raise NotAuthenticated('this server asks for a token: "authorization: Bearer TOKEN"')
        if isinstance(authorization, bytes):
            authorization = authorization.decode("latin-1")
        scheme, _, token = authorization.partition(" ")
        digest = hashlib.sha256(token.strip().encode("utf-8", "replace")).hexdigest()
        found = None
        for known, holder in self._file.get():
            if hmac.compare_digest(known, digest):
                found = holder
        if found is None or scheme.lower() != "bearer":
            raise NotAuthenticated("nobody here has this token")
        return found

    def _read(self) -> list[tuple[str, Holder]]:
        try:
            text = self._path.read_text("utf-8")
        except OSError as e:
            raise Unavailable(f"cannot read the tokens {str(self._path)!r}: {e.strerror}") from e
        except UnicodeDecodeError as e:
            raise InvalidInput(f"the tokens {str(self._path)!r} are not UTF-8") from e
        try:
            entries = parse_tokens(text)
        except InvalidInput as e:
            raise InvalidInput(f"the tokens {str(self._path)!r}: {e}") from e
        holders: dict[str, Holder] = {}
        digests: list[tuple[str, Holder]] = []
        for name, (known, limits) in entries.items():
            holders[name] = Holder(name, limits)
            if name in self._holders:
                holders[name].succeed(self._holders[name])
            digests += [(digest, holders[name]) for digest in known]
        self._holders = holders
        return digests


def parse_tokens(text: str) -> dict[str, tuple[list[str], Limits]]:
    """Return the digests and limits in a file of tokens, by name; raises `InvalidInput`."""
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as e:
        raise InvalidInput(f"not TOML: {e}") from e
    if unknown := set(table) - {"tokens"}:
        raise InvalidInput(f"unknown key {min(unknown)!r}; tokens are tables [tokens.NAME]")
    entries = table.get("tokens", {})
    if not isinstance(entries, dict) or not all(isinstance(e, dict) for e in entries.values()):
        raise InvalidInput("tokens are tables [tokens.NAME]")
    seen: set[str] = set()
    found = {}
    for name, entry in entries.items():
        if not _NAME.fullmatch(name):
            raise InvalidInput(f"{name!r} is no name: letters, digits, '.', '_' and '-', up to 64")
        digests = entry.pop("sha256", None)
        digests = [digests] if isinstance(digests, str) else digests
        if not isinstance(digests, list) or not digests:
            raise InvalidInput(f"{name} has no sha256")
        for digest in digests:
            if not isinstance(digest, str) or not _DIGEST.fullmatch(digest):
                raise InvalidInput(f"sha256 of {name} must be 64 digits 0-9 a-f")
            if digest in seen:
                raise InvalidInput(f"the token of {name} is another's too")
            seen.add(digest)
        found[name] = (digests, _limits(name, entry))
    return found


def _limits(name: str, entry: dict[str, Any]) -> Limits:
    limits: dict[str, Any] = {}
    for key, value in entry.items():
        match key:
            case "requests_per_second":
                right = isinstance(value, int | float) and not isinstance(value, bool)
                right = right and 0 < value < float("inf")
                wanted = "a number above 0"
            case "concurrent" | "bytes_per_minute":
                right = isinstance(value, int) and not isinstance(value, bool) and value > 0
                wanted = "a whole number above 0"
            case "codecs" | "methods":
                right = isinstance(value, list) and all(isinstance(part, str) for part in value)
                wanted = "a list of names, in which * stands for anything"
                value = tuple(value) if right else value
            case "admin":
                right, wanted = isinstance(value, bool), "true or false"
            case _:
                known = ", ".join(("sha256", *Limits.__dataclass_fields__))
                raise InvalidInput(f"unknown key {key!r} of {name}; known: {known}")
        if not right:
            raise InvalidInput(f"{key} of {name} must be {wanted}")
        limits[key] = value
    return Limits(**limits)
