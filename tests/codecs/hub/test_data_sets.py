"""Whole data sets through a published codec, and back."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from omnicodec.codecs import Audio, FingerprintMismatch, Image, Text, UnknownCodec, load
from omnicodec.codecs.codec import StreamingCodec
from omnicodec.service import batch
from omnicodec.service.batch import opening
from omnicodec.service.batch.engines.ray import RayEngine
from omnicodec.service.batch.job import CodecChoice
from omnicodec.service.batch.prepare import Wishes, prepare
from omnicodec.service.batch.run import tokenize
from omnicodec.service.cli.run import run

from ...service.batch.here import Here, tree
from ...service.batch.ray_here import cluster  # noqa: F401  # a fixture

pytest.importorskip("transformers")


@pytest.fixture(scope="module")
def autoencoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a small continuous tokenizer of pictures."""
    library = pytest.importorskip("diffusers")
    folder = tmp_path_factory.mktemp("kl") / "small-kl"
    library.AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 2, up_block_types=("UpDecoderBlock2D",) * 2,
        block_out_channels=(8, 16), norm_num_groups=4, latent_channels=4,
    ).save_pretrained(folder)  # fmt: skip
    return folder


@pytest.fixture
def clips(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sound: Callable[..., Audio]
) -> list[Audio]:
    """Return clips that lie in a working folder's clips/."""
    monkeypatch.chdir(tmp_path)
    Path("clips").mkdir()
    for number in range(3):
        sound(400 + 100 * number, 8000, seed=number).save(f"clips/{number}.wav")
    return [Audio.open(f"clips/{number}.wav") for number in range(3)]


def test_there_and_back(
    mono_encodec: Path, clips: list[Audio], capsys: pytest.CaptureFixture[str]
) -> None:
    Path("codecs").mkdir()
    Path("codecs/small").symlink_to(mono_encodec)
    name = "hf:codecs/small"
    command = ["tokenize", "clips", "-o", "out", "-c", name, "--workers", "1", "--device", "cpu"]
    assert run(command) == 0, capsys.readouterr().err
    (choice,) = [
        choice
        for choice in json.loads(Path("out/job.json").read_bytes())["codecs"]
        if choice["modality"] == "audio"
    ]
    assert choice["path"] == f"hf:{mono_encodec}"
    assert run(["verify", "out", "--deep"]) == 0

    back = ["detokenize", "out", "-o", "back"]
    environment = {**os.environ, "HF_HUB_OFFLINE": "1"}
    program = [sys.executable, "-m", "omnicodec.service.cli", *back]
    ended = subprocess.run(program, capture_output=True, text=True, check=False, env=environment)
    assert ended.returncode == 2
    assert "is not open here: name it with -c" in ended.stderr
    assert run([*back, "-c", name, "--device", "cpu"]) == 0
    codec = load(name, device="cpu")
    expected = codec.decode(codec.encode(clips))
    for number, clip in enumerate(expected):
        (file,) = Path("back").rglob(f"{number}*.wav")
        assert np.array_equal(Audio.open(file).samples, Audio.open(clip.to_bytes(".wav")).samples)
    assert run(["report", "out", "-c", name, "--device", "cpu"]) == 0


@pytest.mark.usefixtures("clips")
def test_real_values_there_and_back(
    autoencoder: Path, picture: Callable[..., Image], capsys: pytest.CaptureFixture[str]
) -> None:
    pictures = [picture(10 + 3 * number, 13) for number in range(3)]
    for number, each in enumerate(pictures):
        each.save(f"clips/{number}.png")
    name = f"hf:{autoencoder}"
    job, vocabulary = prepare(Wishes(sources=["clips"], codecs=[name], quality=16, device="cpu"))
    manifest = tokenize(job, vocabulary, Path("out"), engine=Here())
    assert (manifest.written, manifest.rejects) == (3, 3)  # sound has no codec
    assert run(["verify", "out", "--deep"]) == 0, capsys.readouterr().err
    codec = load(name, device="cpu")
    wanted = codec.encode(pictures, quality=16)
    found = {row["key"]: row["parts"][0] for row in batch.open("out")}
    for number, tokens in enumerate(wanted):
        part = found[str(number)]
        assert part["soft"].dtype == np.float16
        np.testing.assert_array_equal(part["soft"], tokens.values)
        assert (part["grid"], part["extent"]) == (tokens.grid, dict(tokens.extent))
    assert run(["detokenize", "out", "-o", "back", "-c", name, "--device", "cpu"]) == 0
    for number, decoded in enumerate(codec.decode(wanted)):
        assert Image.open(f"back/{number}.png") == decoded
    assert run(["report", "out", "-c", name, "--device", "cpu"]) == 0
    assert "4 real values of 16 bits a token" in Path("report.html").read_text()


@pytest.mark.usefixtures("clips", "cluster")
def test_ray_workers_open_published_codecs(
    mono_encodec: Path, autoencoder: Path, picture: Callable[..., Image]
) -> None:
    for number in range(2):
        picture(10 + 3 * number, 13).save(f"clips/{number}.png")
    codecs = [f"hf:{mono_encodec}", f"hf:{autoencoder}"]
    wishes = Wishes(sources=["clips"], codecs=codecs, device="cpu", shard_items=3)
    job, vocabulary = prepare(wishes)
    for name, engine in (("here", Here()), ("ray", RayEngine(workers=1, device="cpu"))):
        manifest = tokenize(job, vocabulary, Path(name), engine=engine)
        assert (manifest.written, manifest.rejects) == (5, 0)
    assert tree(Path("ray")) == tree(Path("here"))


def test_long_sound_goes_through_in_pieces(
    mono_encodec: Path, clips: list[Audio], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(opening, "WHOLE_SAMPLES", 100)
    monkeypatch.setattr(opening, "PIECE_SECONDS", 0.01)
    codec = load(f"hf:{mono_encodec}", device="cpu")
    assert isinstance(codec, StreamingCodec)
    job, vocabulary = prepare(Wishes(sources=["clips"], codecs=[f"hf:{mono_encodec}"]))
    tokenize(job, vocabulary, Path("out"), engine=Here())
    found = {row["key"]: row["parts"][0] for row in batch.open("out")}
    for number, wanted in enumerate(codec.encode(clips)):
        assert found[str(number)]["ids"].tolist() == wanted.ids.tolist()
        assert found[str(number)]["extent"] == dict(wanted.extent)


def test_batches_of_a_pipeline_are_encoded_by_published_codecs(
    mono_encodec: Path, autoencoder: Path, clips: list[Audio], picture: Callable[..., Image]
) -> None:
    files = {
        f"hf:{mono_encodec}": (clips, ".wav"),
        f"hf:{autoencoder}": ([picture(10, 13), picture(9, 9)], ".png"),
    }
    for name, (media, ending) in files.items():
        encode = batch.Encode(name, column="file", device="cpu")
        column = np.array([each.to_bytes(ending) for each in media] + [b"none"], object)
        columns = encode({"file": column})
        codec = load(name, device="cpu")
        for number, wanted in enumerate(codec.encode(media)):
            row = {key: values[number] for key, values in columns.items()}
            assert batch.Encode.tokens(row) == wanted
            assert codec.decode([wanted])
        assert columns["error"][-1].startswith("InvalidInput: ")


def test_a_pinned_repository_is_opened_by_workers_as_it_is_in_the_cache(
    tmp_path: Path, tokenizer_of: Callable[[str], bytes]
) -> None:
    """No network, and the newest revision in the cache is another one."""
    commits = {"a" * 40: tokenizer_of("the other day"), "b" * 40: tokenizer_of("and then there")}
    repository = tmp_path / "home/hub/models--some--words"
    for commit, content in commits.items():
        folder = repository / "snapshots" / commit
        folder.mkdir(parents=True)
        (folder / "tokenizer.json").write_bytes(content)
        (folder / "config.json").write_text('{"model_type": "gpt2"}')
    (repository / "refs").mkdir()
    (repository / "refs/main").write_text("a" * 40)
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts/1.txt").write_text("the other day, and then there")
    kept = {k: v for k, v in os.environ.items() if not k.startswith("HF_")}
    environment = {**kept, "HF_HOME": str(tmp_path / "home"), "HF_HUB_OFFLINE": "1"}
    pinned = "b" * 40
    command = ["tokenize", "texts", "-o", "out", "-c", f"hf:some/words@{pinned}", "--workers", "1"]
    program = [sys.executable, "-P", "-m", "omnicodec.service.cli", *command]
    ended = subprocess.run(
        program, capture_output=True, text=True, check=False, env=environment, cwd=tmp_path
    )
    assert ended.returncode == 0, ended.stderr
    (choice,) = json.loads((tmp_path / "out/job.json").read_bytes())["codecs"]
    assert choice["path"] == f"hf:some/words@{pinned}"
    (part,) = batch.open(tmp_path / "out")[0]["parts"]
    (tokens,) = load(repository / "snapshots" / pinned).encode(
        [Text.open(tmp_path / "texts/1.txt")]
    )
    assert part["ids"].tolist() == tokens.ids.tolist()


@pytest.fixture
def tokenizer_of() -> Callable[[str], bytes]:
    """Return a function that makes the `tokenizer.json` of merges of one text."""
    library = pytest.importorskip("tokenizers")

    def make(text: str) -> bytes:
        made = library.Tokenizer(library.models.BPE())
        made.pre_tokenizer = library.pre_tokenizers.ByteLevel(add_prefix_space=False)
        made.decoder = library.decoders.ByteLevel()
        alphabet = sorted(library.pre_tokenizers.ByteLevel.alphabet())
        trainer = library.trainers.BpeTrainer(
            vocab_size=280, initial_alphabet=alphabet, show_progress=False
        )
        made.train_from_iterator([text] * 9, trainer)
        return bytes(made.to_str(), "utf-8")

    return make


def test_a_choice_is_what_was_chosen(mono_encodec: Path, make_encodec: Callable[..., Path]) -> None:
    codec = load(f"hf:{mono_encodec}", device="cpu")
    name, found = codec.spec.name, codec.spec.fingerprint
    choice = CodecChoice(modality="audio", name=name, fingerprint=found, path=f"hf:{mono_encodec}")
    assert choice.open("cpu") is codec
    assert choice.open_named("cpu") is codec
    elsewhere = CodecChoice(
        modality="audio", name=name, fingerprint="0" * 16, path=f"hf:{mono_encodec}"
    )
    for opened in elsewhere.open, elsewhere.open_named:
        with pytest.raises(FingerprintMismatch, match="was begun with 0000"):
            opened("cpu")
    # A data set's word opens nothing, whatever it calls it.
    other = make_encodec(codebook_size=16).rename(mono_encodec.parent / "other")
    for name in "hf:other", "text/other":
        stranger = CodecChoice(modality="audio", name=name, fingerprint="", path=f"hf:{other}")
        with pytest.raises(UnknownCodec):
            stranger.open_named("cpu")
