"""How clients reach a server: TLS, their own certificates, tokens, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from omnicodec.codecs import InvalidInput, Unavailable
from omnicodec.service import Client
from omnicodec.service.client.connection import TOKEN_VARIABLE, Connection
from omnicodec.service.server import ServerOptions, running_server
from omnicodec.service.server.tokens import hash_token

from .server.certificates import Authority

TOKEN = "a-token-of-some-length-0123456789abcdef"


@pytest.fixture(autouse=True)
def no_token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(TOKEN_VARIABLE, raising=False)


@pytest.fixture
def secured(tmp_path: Path) -> ServerOptions:
    """Return the options of a server that wants a client's certificate and a token."""
    servers, clients = Authority("servers"), Authority("clients")
    certificate, key = servers.sign("server").write(tmp_path, "server")
    clients.sign("client").write(tmp_path, "client")
    (tmp_path / "ca.pem").write_bytes(servers.certificate)
    (tmp_path / "clients.pem").write_bytes(clients.certificate)
    tokens = tmp_path / "tokens.toml"
    tokens.write_text(f'[tokens.test]\nsha256 = "{hash_token(TOKEN)}"\n')
    return ServerOptions(
        listen="127.0.0.1:0",
        tls_certificate=certificate,
        tls_key=key,
        tls_client_ca=tmp_path / "clients.pem",
        tokens=tokens,
    )


def test_mutual_tls_and_a_token(
    secured: ServerOptions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files: dict[str, Any] = {
        "ca": tmp_path / "ca.pem",
        "certificate": str(tmp_path / "client.pem"),
        "key": tmp_path / "client.key",
    }
    other = tmp_path / "other.pem"
    other.write_bytes(Authority("servers").certificate)
    with running_server(secured) as server:
        with Client(server.address, token=TOKEN, **files) as client:
            names = [spec.name for spec in client.codecs()]
            assert "text/bytes" in names
            found = client.codec("text/bytes")
            assert found.decode(found.encode([b"words"]))[0].data == b"words"
        monkeypatch.setenv(TOKEN_VARIABLE, TOKEN)
        with Client(server.address, **files) as client:
            assert [spec.name for spec in client.codecs()] == names
        for wrong in (
            {**files, "token": "another-token-of-some-length-0123456789ab"},
            {**files, "token": ""},
            {**files, "ca": other},
            {"ca": files["ca"]},
            {},
        ):
            with (
                Client(server.address, retries=0, timeout=20, **wrong) as client,
                pytest.raises(Unavailable) as caught,
            ):
                client.codecs()
            assert TOKEN not in str(caught.value)


def test_tokens_do_not_leave_the_machine_unencrypted() -> None:
    for target in ("10.0.0.1:1", "host:1", "dns:///host:1", "[2001:db8::1]:1", "ipv4:10.0.0.1:1"):
        with pytest.raises(InvalidInput, match="unencrypted"):
            Connection(target=target, token=TOKEN)
        assert Connection(target=target, token=TOKEN, tls=True).metadata
        assert not Connection(target=target).metadata
    for target in ("127.0.0.1:1", "localhost:1", "[::1]:1", "unix:///x", "ipv4:127.0.0.1:1"):
        metadata = Connection(target=target, token=TOKEN).metadata
        assert metadata == (("authorization", f"Bearer {TOKEN}"),)


def test_a_token_is_not_shown() -> None:
    assert TOKEN not in repr(Connection(target="localhost:1", token=TOKEN))
    with pytest.raises(InvalidInput, match="visible ASCII") as caught:
        Connection(target="localhost:1", token=f"{TOKEN}\n\u00e4")
    assert TOKEN not in str(caught.value)
    # The newline at the end of a file of one.
    assert Connection(target="localhost:1", token=f"{TOKEN}\n").token == TOKEN


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"certificate": "a.pem"}, "go together"),
        ({"key": "a.key"}, "go together"),
        ({"tls": False, "ca": "ca.pem"}, "tls is False"),
        ({"retries": -1}, "negative"),
        ({"target": ""}, "HOST:PORT"),
    ],
)
def test_what_contradicts_itself(options: dict[str, Any], says: str) -> None:
    with pytest.raises(InvalidInput, match=says):
        Client(**{"target": "localhost:1", **options})


def test_files_that_are_not_there() -> None:
    with pytest.raises(InvalidInput, match="cannot read the CA file '/no/ca.pem'"):
        Client("localhost:1", ca="/no/ca.pem")


def test_files_mean_tls() -> None:
    assert Connection(target="host:1", ca="x").tls
    assert Connection(target="host:1", tls=True).tls
    assert not Connection(target="host:1").tls
