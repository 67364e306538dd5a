"""deploy/: what can be known of it without a container engine, a cluster or another init.

The files are parsed, the settings in them read as the server reads them, the commands run, and the
probes asked of a running server.
"""

from __future__ import annotations

import configparser
import json
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import pytest
import yaml
from grpc_health.v1 import health_pb2, health_pb2_grpc

from omnicodec.codecs import available
from omnicodec.service.server import ServerOptions, running_server
from omnicodec.service.server.config import options_from

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
PROGRAM = "/opt/omnicodec/bin/omnicodec"
LAST_SECONDS = 5  # that a supervisor has beside the grace

pytestmark = pytest.mark.skipif(not DEPLOY.exists(), reason="this tree has no deploy/")


def printed(arguments: list[str], tmp_path: Path) -> ServerOptions:
    """Return the settings that a command of a file runs with."""
    assert arguments[0] == "serve"
    if "--print-config" not in arguments:
        arguments = [*arguments, "--print-config"]
    done = subprocess.run(
        [sys.executable, "-m", "omnicodec.service.cli", *arguments],
        capture_output=True, text=True, cwd=tmp_path, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    file = tmp_path / "printed.toml"
    file.write_text(done.stdout)
    return options_from(file=file)


def elsewhere(arguments: list[str], config: Path) -> list[str]:
    """Return a command with the settings of this tree in place of those of its machine."""
    return [str(config) if part.endswith("server.toml") else part for part in arguments]


@pytest.fixture
def unit() -> configparser.RawConfigParser:
    parser = configparser.RawConfigParser(strict=False, delimiters="=", comment_prefixes="#")
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read(DEPLOY / "omnicodec.service")
    return parser


@pytest.fixture
def steps() -> list[tuple[str, str]]:
    """Return the instructions of the Dockerfile, with their arguments."""
    text = re.sub(r"^#.*\n", "", (DEPLOY / "Dockerfile").read_text(), flags=re.MULTILINE)
    lines = text.replace("\\\n", " ").splitlines()
    return [tuple(line.split(maxsplit=1)) for line in lines if line.strip()]  # type: ignore[misc]


@pytest.fixture
def manifests() -> dict[str, Any]:
    """Return the objects of the manifest by kind."""
    objects = list(yaml.safe_load_all((DEPLOY / "kubernetes.yaml").read_text()))
    assert len({o["kind"] for o in objects}) == len(objects)
    return {o["kind"]: o for o in objects}


@pytest.fixture
def pod(manifests: dict[str, Any]) -> dict[str, Any]:
    return manifests["Deployment"]["spec"]["template"]["spec"]


def test_settings_of_a_machine() -> None:
    options = options_from(file=DEPLOY / "server.toml")
    assert set(options.preload) <= set(available())
    assert options.tokens == Path("/etc/omnicodec/tokens.toml")
    assert options.tls_certificate is not None


def test_the_units_commands(unit: configparser.RawConfigParser, tmp_path: Path) -> None:
    service = unit["Service"]
    options = options_from(file=DEPLOY / "server.toml")
    for key in ("ExecStartPre", "ExecStart"):
        program, *arguments = shlex.split(service[key])
        assert program == PROGRAM
        assert printed(elsewhere(arguments, DEPLOY / "server.toml"), tmp_path) == options
    assert float(service["TimeoutStopSec"]) >= options.grace_seconds + LAST_SECONDS
    assert options.jobs is not None
    assert options.jobs.parent == Path("/var/lib") / service["StateDirectory"]
    assert service["KillSignal"] == "SIGTERM"


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not here")
def test_systemd_understands_the_unit(tmp_path: Path) -> None:
    text = (DEPLOY / "omnicodec.service").read_text()
    # It looks whether programs and users are there.
    text = text.replace(PROGRAM, "/bin/true").replace("=omnicodec\n", "=root\n")
    copy = tmp_path / "omnicodec.service"
    copy.write_text(text)
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(copy)],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    said = [line for line in done.stderr.splitlines() if "omnicodec.service" in line]
    assert said == []
    copy.write_text(text.replace("TimeoutStopSec=45", "TimeoutStopSec=soon"))
    again = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(copy)],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert "omnicodec.service:" in again.stderr  # it does look


def test_the_images_steps(steps: list[tuple[str, str]], tmp_path: Path) -> None:
    allowed = {"FROM", "WORKDIR", "COPY", "RUN", "ENV", "USER", "EXPOSE", "STOPSIGNAL",
               "ENTRYPOINT", "CMD"}  # fmt: skip
    assert {name for name, _ in steps} <= allowed
    ignored = (DEPLOY / "Dockerfile.dockerignore").read_text().splitlines()
    for name, argument in steps:
        if name == "COPY" and not argument.startswith("--from"):
            for source in argument.split()[:-1]:
                assert (ROOT / source).exists(), source
                assert f"!{source}" in ignored
        if name == "RUN":
            assert subprocess.run(["sh", "-n", "-c", argument], check=False).returncode == 0
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    (wanted,) = re.findall(r"\"\.\[([a-z,]+)\]\"", str(steps).replace("'", '"'))
    assert set(wanted.split(",")) <= set(project["optional-dependencies"])
    last = dict(steps)
    assert not last["USER"].startswith(("0", "root"))
    entry, command = json.loads(last["ENTRYPOINT"]), json.loads(last["CMD"])
    assert entry == [PROGRAM]
    options = printed(command, tmp_path)
    assert options.listen == f"0.0.0.0:{last['EXPOSE']}"


def test_the_pods_settings(pod: dict[str, Any], manifests: dict[str, Any], tmp_path: Path) -> None:
    config = tmp_path / "server.toml"
    config.write_text(manifests["ConfigMap"]["data"]["server.toml"])
    (container,) = pod["containers"]
    options = printed(elsewhere(container["args"], config), tmp_path)
    assert set(options.preload) <= set(available())
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    listens = {
        "grpc": options.listen, "health": options.health_listen, "metrics": options.metrics_listen,
    }  # fmt: skip
    assert {name: f"0.0.0.0:{port}" for name, port in ports.items()} == listens
    assert manifests["Service"]["spec"]["ports"][0]["port"] == ports["grpc"]
    # What settings name is mounted, from what the pod has, and nothing else can be written.
    mounts = {m["mountPath"]: m["name"] for m in container["volumeMounts"]}
    assert set(mounts.values()) == {volume["name"] for volume in pod["volumes"]}
    for path in (options.tls_certificate, options.tls_key, options.tokens):
        assert str(path.parent) in mounts
    assert Path(container["args"][-1]).parent.as_posix() in mounts
    assert container["securityContext"]["readOnlyRootFilesystem"]
    assert pod["securityContext"]["runAsUser"] == 10001
    wait = int(container["lifecycle"]["preStop"]["exec"]["command"][1])
    assert pod["terminationGracePeriodSeconds"] >= wait + options.grace_seconds + LAST_SECONDS
    labels = manifests["Deployment"]["spec"]["template"]["metadata"]["labels"]
    for selector in (
        manifests["Deployment"]["spec"]["selector"]["matchLabels"],
        manifests["Service"]["spec"]["selector"],
        manifests["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"],
    ):
        assert selector.items() <= labels.items()


def test_the_pods_probes(pod: dict[str, Any], manifests: dict[str, Any], tmp_path: Path) -> None:
    config = tmp_path / "server.toml"
    config.write_text(manifests["ConfigMap"]["data"]["server.toml"])
    local = "127.0.0.1:0"
    options = replace(
        options_from(file=config), listen=local, health_listen=local, metrics_listen=local,
        tls_certificate=None, tls_key=None, tokens=tmp_path / "tokens.toml",
    )  # fmt: skip
    (tmp_path / "tokens.toml").write_text("")
    (container,) = pod["containers"]
    with running_server(options) as server, grpc.insecure_channel(server.health_address) as channel:
        for name in ("startupProbe", "readinessProbe", "livenessProbe"):
            probe = container[name]["grpc"]
            assert f"0.0.0.0:{probe['port']}" == options_from(file=config).health_listen
            request = health_pb2.HealthCheckRequest(service=probe.get("service", ""))
            answer = health_pb2_grpc.HealthStub(channel).Check(request, timeout=10)
            assert answer.status == health_pb2.HealthCheckResponse.SERVING
        # Nothing but health is there.
        with pytest.raises(grpc.RpcError) as caught:
            channel.unary_unary("/omnicodec.v1.CodecService/ListCodecs")(b"", timeout=10)
        assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED
