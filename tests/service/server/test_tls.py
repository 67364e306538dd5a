"""TLS and mutual TLS: who is let in, and files that change under a running server."""

from __future__ import annotations

import logging
import ssl
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from omnicodec.codecs import InvalidInput, Unavailable
from omnicodec.service.server import RunningServer, ServerOptions, running_server, watched
from omnicodec.v1 import codec_service_pb2 as pb
from omnicodec.v1.codec_service_pb2_grpc import CodecServiceStub

from .certificates import Authority, Pair, pem

LOCAL = "127.0.0.1:0"


@dataclass
class Files:
    """What a server is given: a certificate of `authority`, and whose clients it lets in."""

    authority: Authority
    clients: Authority
    certificate: Path
    key: Path
    client_ca: Path


@pytest.fixture
def files(tmp_path: Path) -> Files:
    authority, clients = Authority("servers"), Authority("clients")
    certificate, key = authority.sign("server").write(tmp_path, "server")
    client_ca = tmp_path / "clients.pem"
    client_ca.write_bytes(clients.certificate)
    return Files(authority, clients, certificate, key, client_ca)


@pytest.fixture(autouse=True)
def _look_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    init = watched.Watched.__init__
    monkeypatch.setattr(
        watched.Watched,
        "__init__",
        lambda self, paths, read: init(self, paths, read, seconds=0.0),
    )


@pytest.fixture
def mutual(files: Files) -> Iterator[RunningServer]:
    options = ServerOptions(
        listen=LOCAL,
        tls_certificate=files.certificate,
        tls_key=files.key,
        tls_client_ca=files.client_ca,
    )
    with running_server(options) as server:
        yield server


def call(address: str, credentials: grpc.ChannelCredentials | None) -> str:
    """Return the status of a call on a connection of its own."""
    options = [("grpc.use_local_subchannel_pool", 1)]
    channel = (
        grpc.insecure_channel(address, options)
        if credentials is None
        else grpc.secure_channel(address, credentials, options)
    )
    with channel:
        try:
            CodecServiceStub(channel).GetCodec(pb.GetCodecRequest(name="text/bytes"), timeout=10)
            health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=10)
        except grpc.RpcError as e:
            return str(e.code().name)
    return "OK"


def trusting(authority: Authority, client: Pair | None = None) -> grpc.ChannelCredentials:
    return grpc.ssl_channel_credentials(
        authority.certificate,
        client.key if client else None,
        client.certificate if client else None,
    )


def serial(address: str) -> str:
    """Return the certificate that a server shows."""
    host, _, port = address.rpartition(":")
    return ssl.get_server_certificate((host, int(port)), timeout=10)


def test_only_tls_is_spoken(files: Files) -> None:
    options = ServerOptions(listen=LOCAL, tls_certificate=files.certificate, tls_key=files.key)
    with running_server(options) as server:
        assert call(server.address, trusting(files.authority)) == "OK"
        assert call(server.address, trusting(Authority("servers"))) == "UNAVAILABLE"
        assert call(server.address, None) == "UNAVAILABLE"
        assert call(server.address, trusting(files.authority)) == "OK"


def test_mutual_tls_lets_in_its_own_clients(mutual: RunningServer, files: Files) -> None:
    own = files.clients.sign("client")
    assert call(mutual.address, trusting(files.authority, own)) == "OK"
    for stranger in (None, Authority("clients").sign("client"), files.authority.sign("client")):
        assert call(mutual.address, trusting(files.authority, stranger)) == "UNAVAILABLE"
    assert call(mutual.address, None) == "UNAVAILABLE"
    assert call(mutual.address, trusting(files.authority, own)) == "OK"


def test_new_files_are_used_and_broken_ones_are_not(
    mutual: RunningServer, files: Files, caplog: pytest.LogCaptureFixture
) -> None:
    own = files.clients.sign("client")
    open_channel = grpc.secure_channel(mutual.address, trusting(files.authority, own))
    stub = CodecServiceStub(open_channel)
    stub.GetCodec(pb.GetCodecRequest(name="text/bytes"))
    first = files.certificate.read_text()
    next_pair = files.authority.sign("next")
    broken: list[Callable[[], object]] = [
        lambda: files.certificate.write_bytes(next_pair.certificate),  # and the key not yet
        lambda: files.certificate.write_text("nothing"),
        lambda: files.certificate.unlink(),
    ]
    for damage in broken:
        caplog.clear()
        damage()
        with caplog.at_level(logging.INFO):
            assert call(mutual.address, trusting(files.authority, own)) == "OK"
        assert [
            record.levelname for record in caplog.records if "server.pem" in record.message
        ] == ["ERROR"]
        assert "PRIVATE" not in caplog.text
    next_pair.write(files.certificate.parent, "server")
    assert call(mutual.address, trusting(files.authority, own)) == "OK"
    assert next_pair.certificate.decode() != first
    # The authority of clients changes, too.
    others = Authority("others")
    files.client_ca.write_bytes(others.certificate)
    assert call(mutual.address, trusting(files.authority, own)) == "UNAVAILABLE"
    assert call(mutual.address, trusting(files.authority, others.sign("client"))) == "OK"
    stub.GetCodec(pb.GetCodecRequest(name="text/bytes"))  # what is open goes on
    open_channel.close()


def test_the_new_certificate_is_shown(files: Files) -> None:
    options = ServerOptions(listen=LOCAL, tls_certificate=files.certificate, tls_key=files.key)
    with running_server(options) as server:
        assert serial(server.address) == files.certificate.read_text()
        files.authority.sign("next").write(files.certificate.parent, "server")
        assert serial(server.address) == files.certificate.read_text()


def test_a_server_does_not_start_with_files_that_are_wrong(files: Files, tmp_path: Path) -> None:
    other = Authority("other").sign("other").write(tmp_path, "other")[1]
    locked = tmp_path / "locked.key"
    from cryptography.hazmat.primitives.asymmetric import ec

    locked.write_bytes(pem(ec.generate_private_key(ec.SECP256R1()), b"password"))
    empty = tmp_path / "empty"
    empty.touch()
    wrong = [
        ({"tls_key": other}, InvalidInput),
        ({"tls_key": locked}, InvalidInput),
        ({"tls_key": empty}, InvalidInput),
        ({"tls_certificate": empty}, InvalidInput),
        ({"tls_client_ca": empty}, InvalidInput),
        ({"tls_client_ca": tmp_path / "none"}, Unavailable),
    ]
    for changed, error in wrong:
        given = {"tls_certificate": files.certificate, "tls_key": files.key, **changed}
        with pytest.raises(error), running_server(ServerOptions(listen=LOCAL, **given)):
            pass
