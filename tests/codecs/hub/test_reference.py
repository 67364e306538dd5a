"""Names: what is a folder, what is a repository, and what is neither."""

from __future__ import annotations

from pathlib import Path

import pytest

from omnicodec.codecs import InvalidInput, UnknownCodec
from omnicodec.codecs.hub.reference import is_hub_name, of_folder, parse


def test_only_the_prefix_makes_a_hub_name() -> None:
    assert is_hub_name("hf:facebook/encodec_24khz")
    assert not is_hub_name("facebook/encodec_24khz")
    assert not is_hub_name("audio/rvq")


@pytest.mark.parametrize(
    ("name", "repository", "revision"),
    [
        ("hf:facebook/encodec_24khz", "facebook/encodec_24khz", ""),
        ("hf:kyutai/mimi@v1.0", "kyutai/mimi", "v1.0"),
        ("hf:a-b/c.d@refs/pr/3", "a-b/c.d", "refs/pr/3"),
        ("hf:gpt2", "gpt2", ""),
        ("hf:a/b@" + 10 * "12ef", "a/b", 10 * "12ef"),
    ],
)
def test_repositories(name: str, repository: str, revision: str) -> None:
    found = parse(name)
    assert (found.repository, found.revision, found.folder) == (repository, revision, None)
    assert found.name == "hf:" + repository  # tokens and streams do not name the revision
    assert str(found) == name


@pytest.mark.parametrize(
    "name", ["hf:", "hf:a/b/c", "hf:a b", "hf:a/b@", "hf:a/..", "hf:@v1", "hf:a/b\n", "hf:é/x"]
)
def test_names_that_are_nothing(name: str) -> None:
    with pytest.raises(UnknownCodec, match="neither"):
        parse(name)


def test_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "owner" / "name"
    folder.mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in (f"hf:{folder}", "hf:./owner/name", "hf:owner/name", "hf:~/owner/name"):
        found = parse(name)
        assert (found.folder, found.name, found.repository) == (folder.resolve(), "hf:name", "")
    monkeypatch.chdir(folder)
    assert parse("hf:.") == of_folder(folder)
    assert parse("hf:..").name == "hf:owner"


@pytest.mark.parametrize("name", ["hf:/no/such", "hf:./no", "hf:../no", "hf:~/no/such"])
def test_folders_that_are_not_there(name: str) -> None:
    with pytest.raises(InvalidInput, match="there is no folder"):
        parse(name)
