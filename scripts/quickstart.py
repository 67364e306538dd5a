"""A tour of omnicodec: tokens, one sequence for a language model, files, a service.

Run by scripts/quickstart.sh, which installs what it needs; it leaves its files in the
folder `quickstart/`.
"""

from __future__ import annotations

import math
import subprocess
import sys
from pathlib import Path

import numpy as np
from skimage import data

from omnicodec.codecs import Image, Text, Tokens, Vocabulary, compress, decompress, load
from omnicodec.service import Client

OUT = Path("quickstart")

TEXT = """\
A tokenizer is a promise. It says: give me a photograph, a voice or a page of prose, and I
will hand you a short row of numbers; give me the row, and you shall have your photograph,
your voice or your page again. Whoever trains a language model builds on that promise.
"""


def tokenize(photo: Image, text: Text) -> tuple[Tokens, Tokens]:
    """Media to tokens: a codec takes a batch and gives a batch."""
    made = []
    for name, item in (("image/vq", photo), ("text/bytes", text)):
        codec = load(name)
        (tokens,) = codec.encode([item])
        bits = len(tokens) * sum(math.log2(size) for size in codec.spec.codebook_sizes)
        grid = "x".join(map(str, tokens.grid))
        print(f"  {name:<10}  grid {grid}, {bits:,.0f} bits, ids {tokens.ids[0, :6]} ...")
        tokens.save(OUT / f"{codec.spec.modality}.npz")
        made.append(tokens)
    return made[0], made[1]


def one_sequence(photo: Tokens, text: Tokens) -> None:
    """Tokens to one row of integers for a language model, and back."""
    vocabulary = Vocabulary.build(["text/bytes", "image/vq"])
    ids = vocabulary.pack([text, photo])
    assert vocabulary.unpack(ids) == [text, photo]
    vocabulary.save(OUT / "vocabulary.json")
    np.save(OUT / "sequence.npy", ids)
    start = [vocabulary.name_of(int(token)) for token in ids[len(text) - 1 :][:4]]
    print(f"  {ids.size:,} ids out of {vocabulary.size:,}; text and picture come back equal")
    print(f"  where the picture begins: {'  '.join(start)}")


def files(photo: Image, text: Text) -> None:
    """Media to small files: tokens, coded with a probability model of them."""
    for item, codec, name in ((photo, "image/vq", "photo.omc"), (text, "text/bytes", "text.omc")):
        stream = compress(item, codec)
        (OUT / name).write_bytes(stream)
        restored = decompress(stream)
        if isinstance(restored, Image):
            restored.save(OUT / "restored.png")
            how = f"PSNR {psnr(photo, restored):.2f} dB"
        else:
            assert restored == item
            how = "restored exactly"
        print(f"  {name:<10} {item.nbytes:>7,} -> {len(stream):>5,} bytes, {how}")


def service(photo: Image, expected: Tokens) -> None:
    """The same call, answered by a server in another process."""
    command = Path(sys.executable).with_name("omnicodec")
    server = subprocess.Popen(
        [command, "serve", "--listen", "127.0.0.1:0"], stderr=subprocess.PIPE, text=True
    )
    try:
        said, _, address = server.stderr.readline().strip().rpartition(" ")
        if said != "listening on":
            sys.exit(f"the server did not start: {said} {address} {server.stderr.read()}")
        with Client(address) as client:
            (tokens,) = client.encode([photo], "image/vq")
        assert tokens == expected
        print(f"  the server on {address} gave the same {len(tokens):,} tokens")
    finally:
        server.terminate()
        server.wait()


def psnr(a: Image, b: Image) -> float:
    """Return the peak signal-to-noise ratio in dB."""
    error = np.mean((a.pixels.astype(np.float64) - b.pixels) ** 2)
    return float(10 * np.log10(255**2 / error))


def main() -> None:
    OUT.mkdir(exist_ok=True)
    photo, text = Image(data.astronaut()), Text(TEXT)
    photo.save(OUT / "photo.png")

    print(f"1. Tokens of a photograph ({photo.width}x{photo.height}) and a text")
    photo_tokens, text_tokens = tokenize(photo, text)
    print("2. Both in one sequence")
    one_sequence(photo_tokens, text_tokens)
    print("3. Both as compressed files")
    files(photo, text)
    print("4. The same tokens over gRPC")
    service(photo, photo_tokens)

    print("\nFiles are in quickstart/. Next:")
    for command in (
        "codecs",
        "info quickstart/photo.omc",
        "decode quickstart/image.npz -o again.png",
        "serve",
    ):
        print(f"  .venv/bin/omnicodec {command}")


if __name__ == "__main__":
    main()
