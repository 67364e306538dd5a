"""Sound in blocks: streams give what whole clips give, wherever they are cut."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omnicodec.codecs import (
    Audio,
    CorruptStream,
    InvalidInput,
    StreamingCodec,
    Tokens,
    compress,
    decompress,
    load,
)
from omnicodec.codecs.hub import hub_codec, opening
from omnicodec.codecs.hub.streams import ROWS
from omnicodec.codecs.stream import StreamReader, compress_pieces, frames, inspect
from omnicodec.service import Client
from omnicodec.service.cli.run import run
from omnicodec.service.client.streams import no_tokens
from omnicodec.service.server import ServerOptions, running_server

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """Keep small networks from waiting for threads on a machine that is busy."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


BLOCK = 8000  # samples of the small causal EnCodec
SEGMENT = 800  # of the one in segments


@pytest.fixture(scope="module")
def codecs(
    mono_encodec: Path, stereo_encodec: Path, make_encodec: Callable[..., Path]
) -> dict[str, Any]:
    """Return a causal codec, one in segments, and one whose segments fit no frames."""
    odd = make_encodec(chunk_length_s=0.1, overlap=0.3, use_causal_conv=False, name="odd")
    folders = {"blocks": mono_encodec, "segments": stereo_encodec, "odd": odd}
    opened = {kind: load(f"hf:{folder}", device="cpu") for kind, folder in folders.items()}
    assert all(isinstance(codec, StreamingCodec) for codec in opened.values())
    assert all(codec.spec.streaming for codec in opened.values())
    return opened


@pytest.fixture(scope="module")
def clips(sound: Callable[..., Audio]) -> dict[tuple[int, int], Audio]:
    return {(rate, n): sound(2 * rate + 333, rate, n) for rate, n in KINDS}


KINDS = ((8000, 1), (11_025, 3), (8000, 2))


def joined(pieces: Iterator[Audio]) -> np.ndarray:
    return np.concatenate([piece.samples for piece in pieces], 1)


@settings(max_examples=12)
@given(
    st.sampled_from(["blocks", "segments", "odd"]),
    st.sampled_from(KINDS),
    st.lists(st.floats(0, 1), max_size=6).map(sorted),
    st.sampled_from([None, 2]),
    st.integers(1, 40),
)
def test_streams_equal_the_whole(
    codecs: dict[str, Any],
    clips: dict[tuple[int, int], Audio],
    which: str,
    kind: tuple[int, int],
    cuts: list[float],
    quality: int | None,
    length: int,
) -> None:
    codec, rate = codecs[which], kind[0]
    samples = clips[kind].samples[:, : length * rate // 20 + length]
    total = samples.shape[1]
    (tokens,) = codec.encode([Audio(samples, rate)], quality=quality)
    (whole,) = codec.decode([tokens])
    encoder, decoder = codec.open_encoder(quality=quality), codec.open_decoder()
    edges = pairwise([0, *(int(cut * total) for cut in cuts), total])
    pieces = [encoder.push(Audio(samples[:, a:b], rate)) for a, b in edges]
    pieces.append(encoder.finish())
    assert np.array_equal(np.concatenate([p.ids for p in pieces], 1), tokens.ids)
    assert sum(p.extent["samples"] for p in pieces) == total
    heard = joined([*map(decoder.push, pieces), decoder.finish()])
    assert np.array_equal(heard, whole.samples)
    # Where nothing is told of the length but at the end, and tokens are cut at any place.
    decoder = codec.open_decoder()
    grid, ids = tokens.grid, tokens.ids.reshape(len(tokens.ids), *tokens.grid)
    heard = []
    for a, b in pairwise([0, *(int(cut * grid[0]) for cut in cuts), grid[0]]):
        heard.append(decoder.push(part(tokens, ids[:, a:b], 0)))
    heard.append(decoder.push(part(tokens, ids[:, :0], total)))
    assert np.array_equal(joined([*heard, decoder.finish()]), whole.samples)


def part(tokens: Tokens, ids: np.ndarray, samples: int) -> Tokens:
    """Return tokens of a stream with ids `(K, t, groups)`."""
    extent = {**tokens.extent, "samples": samples}
    rows = ids.reshape(len(ids), -1)
    return Tokens(tokens.codec, tokens.fingerprint, rows, ids.shape[1:], extent)


def test_clips_of_any_lengths_side_by_side(
    codecs: dict[str, Any], sound: Callable[..., Audio]
) -> None:
    lengths = (1, 2, 6, 7, 8, 9, 799, 0, BLOCK - 1, BLOCK, BLOCK + 1, 2 * BLOCK + 5)
    clips = [sound(n, 8000, 1 + n % 3, seed=n) for n in lengths]
    clips.append(sound(5000, 11_025))
    for codec in codecs.values():
        alone = [codec.encode([clip], quality=2)[0] for clip in clips]
        assert codec.encode(clips, quality=2, width=4) == alone
        whole = codec.decode(alone)
        beside = codec.decode(alone, width=4)
        for a, b in zip(whole, beside, strict=True):
            assert a.sample_rate == b.sample_rate
            assert np.allclose(a.samples, b.samples, atol=1e-5)


@pytest.mark.parametrize("which", ["mono_encodec", "stereo_encodec"])
def test_streams_where_rows_are_cheap(
    which: str,
    clips: dict[tuple[int, int], Audio],
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
) -> None:
    folder, clip = request.getfixturevalue(which), clips[11_025, 3]
    narrow = load(f"hf:{folder}", device="cpu")
    monkeypatch.setattr(opening, "_opened", {})
    monkeypatch.setattr(hub_codec, "width_on", lambda _: 8)
    wide = load(f"hf:{folder}", device="cpu")
    assert (narrow.width, wide.width) == (1, ROWS if wide.carries else 8)
    wide.width = 2  # of three groups of channels, in a network of one
    (tokens,) = wide.encode([clip], quality=2)
    assert narrow.encode([clip], quality=2) == [tokens]
    (whole,) = wide.decode([tokens])
    encoder, decoder = wide.open_encoder(quality=2), wide.open_decoder()
    pieces = [encoder.push(Audio(clip.samples[:, a : a + 4000], 11_025)) for a in STARTS]
    pieces.append(encoder.finish())
    assert np.array_equal(np.concatenate([p.ids for p in pieces], 1), tokens.ids)
    heard = joined([*map(decoder.push, pieces), decoder.finish()])
    assert np.array_equal(heard, whole.samples)


STARTS = range(0, 2 * 11_025 + 333, 4000)


def test_a_servers_batches_take_clips_of_any_length(codecs: dict[str, Any]) -> None:
    short, long = (Audio(np.zeros((1, n), np.float32), 8000) for n in (100, 9000))
    for which, together in (("blocks", True), ("segments", False)):
        codec = codecs[which]
        width = codec.settings(width=4)
        same = codec.shape_class(short, width) == codec.shape_class(long, width)
        assert same is together
        alone = codec.settings(width=1)
        assert codec.shape_class(short, alone) is None
        tokens = codec.encode([short, long], quality=2) + codec.encode([short], quality=4)
        kinds = [codec.tokens_class(item, 4) for item in tokens]
        assert (kinds[0] == kinds[1]) is together
        assert kinds[0] != kinds[2]


@settings(max_examples=60)
@given(
    st.sampled_from(["blocks", "segments", "odd"]),
    st.integers(0, 1 << 33),
    st.sampled_from([1, 8000, 11_025, 44_100, (1 << 31) - 1]),
)
def test_lengths_that_have_so_many_frames(
    codecs: dict[str, Any], which: str, steps: int, rate: int
) -> None:
    codec = codecs[which]
    extent = codec.extent_of(steps, {"samples": 0, "rate": rate, "channels": 1, "codebooks": 2})
    samples = extent["samples"]
    assert codec.frames(codec._resampled(samples, rate)) <= steps
    assert codec.frames(codec._resampled(samples + 1, rate)) > steps


@given(st.sampled_from(["blocks", "segments", "odd"]), st.integers(0, 5 * BLOCK))
def test_frames_are_those_of_the_segments(codecs: dict[str, Any], which: str, samples: int) -> None:
    codec = codecs[which]
    segments = codec._segments(samples)
    assert codec.frames(samples) == sum(codec._columns(b - a) for a, b in segments)


def test_what_is_carried_does_not_grow(codecs: dict[str, Any], sound: Callable[..., Audio]) -> None:
    clip = sound(BLOCK + 77, 8000)
    for codec in codecs.values():
        encoder, decoder = codec.open_encoder(), codec.open_decoder()
        sizes = []
        for _ in range(6):
            decoder.push(encoder.push(clip))
            sizes.append(kept(encoder, {}) + kept(decoder, {}))
        assert max(sizes[3:]) <= max(sizes[:3]) + 4 * BLOCK * 4
        assert sizes[0] > 0


def kept(thing: Any, seen: dict[int, Any]) -> int:
    """Return the bytes of all arrays and tensors that an object holds, but for the model's."""
    if id(thing) in seen or isinstance(thing, torch.nn.Module | StreamingCodec):
        return 0
    seen[id(thing)] = thing
    if isinstance(thing, torch.Tensor):
        return thing.untyped_storage().nbytes()
    if isinstance(thing, np.ndarray):
        return thing.nbytes if thing.base is None else kept(thing.base, seen)
    if isinstance(thing, dict):
        return sum(kept(each, seen) for each in thing.values())
    if isinstance(thing, list | tuple):
        return sum(kept(each, seen) for each in thing)
    owner = getattr(thing, "__self__", None)  # of a bound method
    return kept(owner if owner is not None else getattr(thing, "__dict__", {}), seen)


@pytest.mark.parametrize("which", ["blocks", "segments", "odd"])
def test_omc_streams_in_pieces(
    codecs: dict[str, Any], clips: dict[tuple[int, int], Audio], which: str
) -> None:
    codec, clip = codecs[which], clips[11_025, 3]
    whole = decompress(compress(clip, codec, quality=2), codec=codec)
    cut = (Audio(clip.samples[:, a : a + 5000], 11_025) for a in range(0, 22_383, 5000))
    stream = b"".join(compress_pieces(cut, codec, quality=2, chunk_seconds=0.25))
    assert joined(StreamReader(stream, codec=codec)) == pytest.approx(whole.samples, abs=0)
    places = [place for place, _ in chunks(stream)]
    # Damage is filled in, and what was cut off ends as a clip does.
    damaged = bytearray(stream)
    damaged[(places[1] + places[2]) // 2] ^= 4
    with pytest.raises(CorruptStream, match="damaged"):
        decompress(bytes(damaged), codec=codec)
    short = stream[: places[5] + 3]
    with pytest.raises(CorruptStream, match="cut off"):
        list(StreamReader(short, codec=codec))
    for broken in (bytes(damaged), short):
        back = decompress(broken, codec=codec, partial=True)
        reader = StreamReader(broken, codec=codec, partial=True)
        assert np.array_equal(joined(reader), back.samples)
        assert np.isfinite(back.samples).all()
        assert back.samples.shape[1] > 8000


def chunks(stream: bytes) -> list[tuple[int, int]]:
    """Return where each chunk of a stream begins, and how many positions it has."""
    _, at = frames.read_header(stream)
    found = []
    while at < len(stream):
        chunk, end = frames.read_chunk(stream, at)
        found.append((at, chunk.positions if chunk is not None else 0))
        at = end
    return found


def test_silence_stands_for_what_is_lost(codecs: dict[str, Any]) -> None:
    for codec in codecs.values():
        silent = Audio(np.zeros((codec._channels, 3000), np.float32), 8000)
        (tokens,) = codec.encode([silent])
        lost = np.ones(len(tokens), np.bool_)
        (filled,) = codec.decode([tokens], missing=[lost])
        (heard,) = codec.decode([tokens])
        assert np.abs(filled.samples).max() <= 1.5 * np.abs(heard.samples).max() + 1e-3
        none = np.zeros(len(tokens), np.bool_)
        assert np.array_equal(codec.conceal(tokens.ids, none), tokens.ids)


def test_streams_say_what_is_wrong(codecs: dict[str, Any], sound: Callable[..., Audio]) -> None:
    for codec in codecs.values():
        encoder = codec.open_encoder(quality=2)
        first = encoder.push(sound(3 * BLOCK + 100, 8000))
        assert first.grid[0] > 0
        with pytest.raises(InvalidInput, match="cannot go on"):
            encoder.push(sound(100, 11_025))
        with pytest.raises(InvalidInput, match="cannot go on"):
            encoder.push(sound(100, 8000, 2))
        last = encoder.finish()
        with pytest.raises(InvalidInput, match="was finished"):
            encoder.finish()
        with pytest.raises(InvalidInput, match="1 to 64 channels"):
            codec.open_encoder().push(sound(10, 8000, 65))
        with pytest.raises(InvalidInput, match="no quality 3"):
            codec.open_encoder(quality=3)
        decoder = codec.open_decoder()
        decoder.push(first)
        with pytest.raises(InvalidInput, match="frames, where"):
            decoder.finish()
        for ids, grid, extent in (
            (last.ids + 64, last.grid, last.extent),
            (last.ids[:2], last.grid, last.extent),
            (last.ids, last.grid, {**last.extent, "codebooks": 4}),
            (last.ids, last.grid, {**last.extent, "channels": 1 + codec._channels}),
            (last.ids, last.grid, {**last.extent, "rate": 0}),
            (last.ids, last.grid, {**last.extent, "samples": -1}),
            (last.ids, last.grid, {"samples": 0}),
        ):
            with pytest.raises(InvalidInput):
                decoder.push(Tokens(last.codec, last.fingerprint, ids, grid, extent))
        wrong = {**last.extent, "codebooks": 3}
        with pytest.raises(InvalidInput, match="does not use 3"):
            codec.open_decoder().push(Tokens(*name(last), last.ids, last.grid, wrong))
        many = {**last.extent, "channels": 65}
        none = Tokens(*name(last), last.ids[:, :0], (0, codec._groups(65)), many)
        with pytest.raises(InvalidInput, match="1 to 64 channels"):
            codec.open_decoder().push(none)
        decoder.push(last)
        assert decoder.finish().samples.shape[0] == 1
        with pytest.raises(InvalidInput, match="was finished"):
            decoder.push(first)
        assert codec.open_encoder().finish().grid == (0, 1)
        assert codec.open_decoder().finish().samples.size == 0


def name(tokens: Tokens) -> tuple[str, str]:
    return tokens.codec, tokens.fingerprint


def test_a_segment_without_loudness_is_refused_in_a_stream(
    codecs: dict[str, Any], sound: Callable[..., Audio]
) -> None:
    codec = codecs["segments"]
    (tokens,) = codec.encode([sound(3 * SEGMENT, 8000, 2)])
    ids = tokens.ids.reshape(len(tokens.ids), *tokens.grid).copy()
    ids[:, : codec._head] = 63
    with pytest.raises(InvalidInput, match="loudness"):
        codec.open_decoder().push(part(tokens, ids, 3 * SEGMENT))


def test_a_file_is_compressed_in_pieces(
    mono_encodec: Path, codecs: dict[str, Any], sound: Callable[..., Audio], tmp_path: Path
) -> None:
    clip, codec = sound(2 * 11_025 + 5, 11_025, 2), codecs["blocks"]
    clip.save(tmp_path / "clip.wav")
    read = Audio.open(tmp_path / "clip.wav")
    given = ("-c", f"hf:{mono_encodec}", "--device", "cpu")
    stream, back = str(tmp_path / "clip.omc"), str(tmp_path / "back.wav")
    assert run(["compress", str(tmp_path / "clip.wav"), *given, "-q", "2", "-o", stream]) == 0
    assert run(["decompress", stream, *given, "-o", back]) == 0
    header = inspect(Path(stream).read_bytes())
    assert header.codec == codec.spec.name
    expected = codec.decode(codec.encode([read], quality=2))[0]
    assert Path(back).read_bytes() == expected.to_bytes(".wav")
    pieces = compress_pieces(iter([read]), codec, quality=2, source_name="clip.wav")
    assert frames.read_header(b"".join(pieces))[0]


def test_a_server_codes_sound_as_it_comes(
    mono_encodec: Path, codecs: dict[str, Any], sound: Callable[..., Audio]
) -> None:
    local, clip = codecs["blocks"], sound(3 * BLOCK + 50, 8000)
    options = ServerOptions(listen="127.0.0.1:0", device="cpu", preload=(f"hf:{mono_encodec}",))
    with running_server(options) as server, Client(server.address) as client:
        remote = client.codec(local.spec.name)
        three = Audio(np.zeros((3, 10), np.float32), 8000)
        for quality, clip_ in ((None, three), (2, clip)):
            none = local.open_encoder(quality=quality).push(Audio(clip_.samples[:, :1], 8000))
            own = no_tokens(remote.spec, clip_, quality)
            assert (own.grid, {**own.extent, "samples": 1}) == (none.grid, dict(none.extent))
        (tokens,) = local.encode([clip], quality=2)
        encoder, decoder = remote.open_encoder(quality=2), remote.open_decoder()
        ids, heard = [], []
        for at in range(0, clip.samples.shape[1], 3000):
            found = encoder.push(Audio(clip.samples[:, at : at + 3000], 8000))
            ids.append(found.ids)
            heard.append(decoder.push(found).samples)
        last = encoder.finish()
        heard += [decoder.push(last).samples, decoder.finish().samples]
        assert np.array_equal(np.concatenate([*ids, last.ids], 1), tokens.ids)
        assert np.array_equal(np.concatenate(heard, 1), local.decode([tokens])[0].samples)
