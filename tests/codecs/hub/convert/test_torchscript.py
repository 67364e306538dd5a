"""TorchScript's archives: tensors are those of torch's own reader, and nothing else is let in."""

from __future__ import annotations

import pickle
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from omnicodec.codecs import InvalidInput
from omnicodec.codecs.hub.convert.torchscript import read_tensors


class Part(nn.Module):
    """What modules may hold: weights of many types, views, buffers, numbers and lists."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(1, 4).bfloat16()
        self.row = nn.Parameter(torch.randn(3, 5).T)
        self.register_buffer("levels", torch.tensor([8, 5]), persistent=False)
        self.register_buffer("one", torch.tensor(1.5, dtype=torch.float64))
        self.register_buffer("none", torch.zeros(0, 3))
        self.sizes = [2, 3]
        self.name = "part"

    def forward(self, x: Tensor) -> Tensor:
        return x * self.one


class Whole(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.parts = nn.ModuleList([Part(), Part()])
        self.conv = nn.Conv2d(2, 3, 1)
        self.same = nn.Conv2d(2, 3, 1)
        self.same.weight = self.conv.weight

    def forward(self, x: Tensor) -> Tensor:
        for part in self.parts:
            x = part(x)
        return x


Save = Callable[[Any, Path], None]


def scripted(module: Any, file: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch goes on reading and writing what it deprecates
        torch.jit.save(torch.jit.script(module), file)


def traced(module: Any, file: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.save(torch.jit.trace(module, torch.zeros(1)), file)


@pytest.mark.parametrize("save", [scripted, traced])
def test_tensors_are_those_that_torch_reads(tmp_path: Path, save: Save) -> None:
    module = Whole()
    save(module, tmp_path / "a.jit")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = torch.jit.load(tmp_path / "a.jit").state_dict()
    ours = read_tensors(tmp_path / "a.jit")
    assert ours.keys() == theirs.keys()
    assert {"parts.1.norm.weight", "parts.0.levels", "same.weight"} <= ours.keys()
    for name, tensor in theirs.items():
        assert ours[name].dtype == tensor.dtype
        assert torch.equal(ours[name], tensor)


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("torchscript") / "whole.jit"
    scripted(Whole(), file)
    return file


class Hostile:
    def __reduce__(self) -> Any:
        return Path.touch, (Path("ran"),)


def rewritten(source: Path, target: Path, name: str, content: bytes, *, packed: bool) -> None:
    """Copy an archive with another content of one file; packed, it takes less than it holds."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        for member in old.namelist():
            if member.partition("/")[2] == name:
                how = zipfile.ZIP_DEFLATED if packed else zipfile.ZIP_STORED
                new.writestr(member, content, how)
            else:
                new.writestr(member, old.read(member))


def tensor_of(count: int, size: int, key: bytes = b"0") -> bytes:
    """Return the pickle of a tensor `(size,)` on a storage of so many numbers."""
    return (
        b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n((X\x07\0\0\0storagectorch\nFloatStorage\n"
        b"X\x01\0\0\0%bX\x03\0\0\0cpuJ%btQK\0J%b\x85K\x01\x85\x89NtR."
        % (key, count.to_bytes(4, "little"), size.to_bytes(4, "little"))
    )


@pytest.mark.parametrize(
    ("name", "content", "packed", "said"),
    [
        ("data.pkl", pickle.dumps(Hostile(), 2), False, "it names "),
        ("data.pkl", b"cos\nsystem\n(S'touch ran'\ntR.", False, "it names os.system"),
        ("data.pkl", b"ctorch.jit._pickle\nrestore_type_tag\n.", False, "it names torch.jit"),
        ("data.pkl", b"", False, "Ran out of input"),
        ("data.pkl", tensor_of(2, 3), False, "larger than its numbers"),
        ("data.pkl", tensor_of(9, 2), False, "it has 2 of 9 numbers"),
        ("data.pkl", tensor_of(2, 2, b"x"), False, "no item named"),
        ("data/0", b"\0" * 5, False, "buffer"),
        ("data/0", b"\0" * (1 << 16), True, "its tensors are compressed"),
    ],
)
def test_a_hostile_archive_runs_nothing(
    archive: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    content: bytes,
    packed: bool,
    said: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    if content.startswith(b"\x80\x02ctorch"):  # on a storage of two numbers
        rewritten(archive, Path("two.jit"), "data/0", b"\0" * 8, packed=False)
        archive = Path("two.jit")
    rewritten(archive, Path("a.jit"), name, content, packed=packed)
    with pytest.raises(InvalidInput, match="is no TorchScript archive of tensors: .*" + said):
        read_tensors(Path("a.jit"))
    assert not Path("ran").exists()


@pytest.mark.parametrize(
    "content",
    [
        b"\x80\x02}.",
        b"\x80\x02c__torch__.a\nB\n)\x81q\0}X\x01\0\0\0ah\0sb.",  # a module that holds itself
    ],
)
def test_an_archive_without_tensors_has_none(archive: Path, tmp_path: Path, content: bytes) -> None:
    rewritten(archive, tmp_path / "a.jit", "data.pkl", content, packed=False)
    assert read_tensors(tmp_path / "a.jit") == {}


@pytest.mark.parametrize("content", [b"", b"PK\x05\x06" + b"\0" * 18, b"\x80\x02."])
def test_what_is_no_archive_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.jit").write_bytes(content)
    with pytest.raises(InvalidInput, match="is no TorchScript archive"):
        read_tensors(tmp_path / "a.jit")
    with pytest.raises(InvalidInput, match="cannot read"):
        read_tensors(tmp_path / "none.jit")


def test_an_archive_that_is_cut_off_is_refused(archive: Path, tmp_path: Path) -> None:
    whole = archive.read_bytes()
    for share in (0.2, 0.5, 0.99):
        (tmp_path / "a.jit").write_bytes(whole[: int(len(whole) * share)])
        with pytest.raises(InvalidInput, match="is no TorchScript archive"):
            read_tensors(tmp_path / "a.jit")
