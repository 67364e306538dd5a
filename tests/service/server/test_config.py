"""Settings: from a file, from variables over it, from flags over both, and back to a file."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import pytest

from omnicodec.codecs import InvalidInput
from omnicodec.service.server.config import options_from, setting, to_toml
from omnicodec.service.server.options import ServerOptions


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str], Path]:
    def write(text: str) -> Path:
        path = tmp_path / "etc" / "server.toml"
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        return path

    return write


def test_flags_over_variables_over_the_file(write: Callable[[str], Path]) -> None:
    file = write("max_queue = 1\nmax_batch = 1\nmax_items = 1\ngrace_seconds = 5\n")
    options = options_from(
        file=file,
        environment={"OMNICODEC_MAX_QUEUE": "2", "OMNICODEC_MAX_BATCH": "2", "OMNICODEC_PORT": "x"},
        flags={"max_queue": 3},
    )
    assert (options.max_queue, options.max_batch, options.max_items) == (3, 2, 1)
    assert options.grace_seconds == 5.0
    assert options_from() == ServerOptions()


def test_paths_in_a_file_are_relative_to_it(write: Callable[[str], Path]) -> None:
    file = write('jobs = "jobs"\ntokens = "/run/tokens.toml"\n')
    options = options_from(file=file, environment={"OMNICODEC_TLS_KEY": "k"}, flags={
        "tls_certificate": Path("c"),
    })  # fmt: skip
    assert options.jobs == file.parent / "jobs"
    assert options.tokens == Path("/run/tokens.toml")
    assert (options.tls_certificate, options.tls_key) == (Path("c"), Path("k"))


def test_variables_of_every_type(write: Callable[[str], Path]) -> None:
    file = write('jobs = "jobs"\nmetrics_listen = "localhost:1"\n')
    options = options_from(
        file=file,
        environment={
            "OMNICODEC_JOBS": "",
            "OMNICODEC_METRICS_LISTEN": "",
            "OMNICODEC_DEVICES": "cuda:0, cuda:1",
            "OMNICODEC_PRELOAD": "",
            "OMNICODEC_MAX_WAIT_MS": "1e1",
            "OMNICODEC_LISTEN": "[::1]:0",
        },
    )
    assert options.jobs is options.metrics_listen is None
    assert options.devices == ("cuda:0", "cuda:1")
    assert options.preload == ()
    assert options.max_wait_ms == 10.0
    assert options.listen == "[::1]:0"


def test_the_queue_grows_with_messages() -> None:
    assert options_from(flags={"max_message_bytes": 1 << 20}).max_queue_bytes == 8 << 20
    both = {"max_message_bytes": 1 << 20, "max_queue_bytes": 1 << 20}
    assert options_from(flags=both).max_queue_bytes == 1 << 20


def test_printed_settings_are_a_file(write: Callable[[str], Path], tmp_path: Path) -> None:
    strange = tmp_path / 'a "b"\\ \x7f\t ü'
    options = ServerOptions(
        listen="[::1]:0",
        devices=("cuda:0", "cuda:1"),
        preload=("image/vq",),
        max_seconds=float("inf"),
        max_wait_ms=1e-9,
        jobs=strange,
        tls_certificate=tmp_path / "c",
        tls_key=tmp_path / "k",
        log_format="json",
    )
    assert options_from(file=write(to_toml(options))) == options
    for field in dataclasses.fields(ServerOptions):
        assert f"{field.name} =" in to_toml(options)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("max_qeue = 1", "unknown setting 'max_qeue'; did you mean 'max_queue'?"),
        ("[server]\nmax_queue = 1", "unknown setting 'server'"),
        ("max_queue = '64'", "max_queue must be a whole number, not '64'"),
        ("max_queue = true", "max_queue must be a whole number, not True"),
        ("max_queue = 1.5", "max_queue must be a whole number, not 1.5"),
        ("grace_seconds = nan", "grace_seconds must be a number, not nan"),
        ("preload = 'image/vq'", "preload must be a list of strings"),
        ("preload = [1]", "preload must be a list of strings"),
        ("jobs = 1", "jobs must be a path, not 1"),
        ("listen = ''", "listen must be HOST:PORT"),
        ("listen = 1", "listen must be a string, not 1"),
        ("max_queue = 0", "max_queue must be at least 1"),
        ("max_queue =", "is not TOML"),
        ("\x00", "is not TOML"),
    ],
)
def test_mistakes_in_a_file_are_one_line(
    write: Callable[[str], Path], text: str, said: str
) -> None:
    with pytest.raises(InvalidInput) as caught:
        options_from(file=write(text))
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_other_mistakes(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="No such file"):
        options_from(file=tmp_path / "none.toml")
    (tmp_path / "latin.toml").write_bytes(b'listen = "\xfc"')
    with pytest.raises(InvalidInput, match="not TOML"):
        options_from(file=tmp_path / "latin.toml")
    with pytest.raises(InvalidInput, match="OMNICODEC_MAX_QUEUE must be a whole number, not 'x'"):
        options_from(environment={"OMNICODEC_MAX_QUEUE": "x"})
    with pytest.raises(InvalidInput, match="FIELD=VALUE"):
        setting("max_queue")
    with pytest.raises(InvalidInput, match="did you mean 'max_wait_ms'"):
        setting("max_wait=5")
    assert setting("max_wait_ms = 5") == ("max_wait_ms", 5.0)
