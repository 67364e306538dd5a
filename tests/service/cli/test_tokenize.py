"""Whole data sets on the command line: what is said, where, and with which exit code."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from omnicodec.codecs import CorruptStream
from omnicodec.service.batch.engines.base import Lost
from omnicodec.service.batch.run import Status
from omnicodec.service.cli.commands.tokenize import parse_max_rejects
from omnicodec.service.cli.run_plan import rounded, size
from omnicodec.service.cli.run_screen import Rates, RunScreen, clock, share, short, told
from omnicodec.service.cli.screen import Screen

Cli = Callable[..., Any]


@pytest.fixture
def texts(folder: Path) -> Path:
    """Return a folder of 30 texts and a picture, which no codec of the tests takes."""
    (folder / "texts").mkdir()
    for number in range(30):
        (folder / "texts" / f"{number:02d}.txt").write_text(f"text {number}\n" * (number + 1))
    (folder / "photo.jpg").rename(folder / "texts" / "photo.jpg")
    return folder / "texts"


def test_tokenize_verify_and_again(cli: Cli, texts: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    command = ("tokenize", "texts", "-o", "out", "-c", "text/bytes", "--workers", "1")
    done = cli(*command)
    assert (done.code, done.out) == (0, b"")
    line, rejects = done.lines
    assert line.startswith("out: 30 of 31 items, ")
    assert line.endswith(" tokens in 30 rows of parquet")
    assert rejects == "1 rejected (InvalidInput 1): see out/rejects.jsonl"
    (reject,) = map(json.loads, Path("out/rejects.jsonl").read_text().splitlines())
    assert reject["position"].endswith("photo.jpg")

    # From anywhere, since the job has absolute paths.
    (texts.parent / "elsewhere").mkdir()
    monkeypatch.chdir(texts.parent / "elsewhere")
    done = cli("tokenize", "../texts", "-o", "../out", "-c", "text/bytes", "--json")
    facts = json.loads(done.out)
    assert (done.code, done.err) == (0, "")
    assert (facts["items"], facts["written"], facts["format"]) == (31, 30, "parquet")
    monkeypatch.chdir("..")

    done = cli("verify", "out", "--deep")
    assert done.code == 0
    assert done.out.startswith(b"out: ok, 31 items, 30 rows in 1 files of ")
    assert done.out.endswith(b" bytes, 1 rejects, all 30 rows opened\n")
    assert json.loads(cli("verify", "out", "--json").out)["files"][0]["ok"] is True

    done = cli("tokenize", "../texts", "-o", "out", "-c", "text/bytes")
    assert done.code == 3  # ../texts is another place from here
    assert "sources.1.location was " in done.err
    done = cli("tokenize", "texts", "-o", "out", "-c", "text/bpe")
    assert done.code == 5
    assert "was begun otherwise: codecs.text.name was 'text/bytes', is 'text/bpe'" in done.err

    Path("out/data/00000000.parquet").write_bytes(b"")
    Path("out/data/more").touch()
    done = cli("verify", "out")
    assert done.code == 4
    assert done.lines[0].startswith("out: data/00000000.parquet has 0 bytes instead of ")
    assert done.lines[1] == "omnicodec: out: data/more is not in the manifest (and 1 more)"


def test_dry_run_writes_nothing(cli: Cli, texts: Path, files: Any) -> None:
    before = files()
    command = ("tokenize", "texts", "-o", "out", "-c", "text/bytes", "--dry-run")
    done = cli(*command, "--format", "megatron", "--pack", "64")
    assert (done.code, done.err) == (0, "")
    lines = done.out.decode().splitlines()
    assert lines[0].startswith(f"{texts}: folder, 31 items, ")
    assert "1 shard of megatron, layout packed" in lines
    assert lines[-1].startswith("about 31 items, ")
    done = cli(*command, "--json")
    facts = json.loads(done.out)
    assert facts["items"] == facts["sampled"] == 31
    assert facts["rejects"] == 1
    assert facts["tokens"] == sum(path.stat().st_size for path in texts.glob("*.txt"))
    assert (facts["shards"], facts["sources"][0]["items"]) == (1, 31)
    assert files() == before


@pytest.mark.usefixtures("texts")
def test_rejects_stop_a_run(cli: Cli) -> None:
    command = ("tokenize", "texts", "-o", "out", "-c", "text/bytes", "--workers", "1")
    done = cli(*command, "--max-rejects", "0")
    assert done.code == 3
    (line,) = done.lines
    assert line.startswith("omnicodec: 1 of 31 items were rejected, more than --max-rejects 0: ")
    assert "photo.jpg: " in line
    assert not Path("out/manifest.json").exists()
    assert cli("verify", "out").code == 3
    assert cli(*command, "--max-rejects", "4%").code == 0


@pytest.mark.usefixtures("texts")
@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["none"], 3, "cannot read '"),
        (["texts", "--kind", "zip"], 2, "no kind of source 'zip'"),
        (["texts", "--column", "txt"], 2, "--column needs NAME=MODALITY, not 'txt'"),
        (["texts", "--max-rejects", "many"], 2, "--max-rejects is a number such as 100 or"),
        (["texts", "--max-rejects", "101%"], 2, "--max-rejects is a number such as 100 or"),
        (["texts", "--engine", "slurm"], 2, "unknown engine 'slurm'; known: local, ray"),
        (["texts", "--address", "auto"], 2, "--address and --gpus are for --engine ray"),
        (["texts", "--format", "csv"], 2, "unknown format 'csv'; known: parquet, "),
        (["texts", "--format", "megatron", "--layout", "raw"], 2, "no place for layout 'raw'"),
        (["texts", "-c", "text/bytes", "-c", "text/bpe"], 2, "are both for text"),
        (["texts", "-c", "image/vq", "-q", "51"], 2, "image/vq has no quality 51"),
        (["texts", "--pattern", "zigzag"], 2, "unknown pattern 'zigzag'"),
        (["texts", "--shard-size", "big"], 2, "'big' is no size"),
    ],
)
def test_misuse(cli: Cli, files: Any, arguments: list[str], code: int, says: str) -> None:
    before = files()
    done = cli("tokenize", "-o", "out", *arguments)
    assert done.code == code, done.err
    assert says in done.err
    assert len(done.lines) == 1
    assert files() == before


@pytest.mark.usefixtures("texts")
def test_folders_of_others_are_refused(cli: Cli) -> None:
    done = cli("tokenize", "texts", "-o", "texts", "-c", "text/bytes")
    assert done.code == 3
    assert "'texts' is no folder of a data set: it has '00.txt'" in done.err


def status(items: int, shards: int = 1, **more: Any) -> Status:
    common = {"before": 0, "rejects": 0, "tokens": 31_400, "nbytes": 10**7 * items}
    return Status(
        **{**common, "all_items": 200, "all_nbytes": 10**9, **more}, items=items, shards=shards,
        left=4 - shards,
    )  # fmt: skip


def test_status_in_words() -> None:
    rates = Rates()
    rates.add(0.0, status(0))
    rates.add(10.0, status(100))
    words = told(status(100, rejects=3), rates)
    assert words == "100 items (10/s), 31.4 k tokens, 100.0 MB/s, 3 rejects, 0:10 left"
    rates.add(100.0, status(100))
    rates.add(160.0, status(200))
    assert rates.items == pytest.approx(100 / 60)
    assert share(status(100)) == 0.5
    assert share(status(100, all_items=None)) == 0.25
    assert [short(n) for n in (999, 1000, 2_050_000, 5e12)] == ["999", "1 k", "2.05 M", "5e+03 G"]
    assert [clock(s) for s in (0.2, 75, 7380, 400_000)] == ["0:01", "1:15", "2:03:00", "4 d 15 h"]
    assert [rounded(n) for n in (7, 99.6, 123, 1_860_000)] == ["7", "100", "120", "1,900,000"]
    assert [size(n) for n in (12, 1_290_000)] == ["12 B", "1.29 MB"]
    assert str(parse_max_rejects("2.5%")) == "2.5%"
    assert str(parse_max_rejects("1000")) == "1,000"


def test_lines_where_there_is_no_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 1000.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    with Screen(1) as screen:
        shown = RunScreen(screen, "out")
        shown.planning()
        for _ in range(7):
            now += 10
            shown.going(status(round(now - 1000)))
        shown.lost(Lost(3, "it was killed by SIGKILL"))
        shown.repeated(4, str(CorruptStream("damaged")))
        shown.finishing()
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.splitlines() == [
        "out: 15 %, 30 items (1/s), 31.4 k tokens, 10.0 MB/s, 2:50 left",
        "out: 30 %, 60 items (1/s), 31.4 k tokens, 10.0 MB/s, 2:20 left",
        "shard 3 is begun again: it was killed by SIGKILL",
        "shard 4 is written again: damaged",
    ]
