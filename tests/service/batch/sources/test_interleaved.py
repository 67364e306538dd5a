from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from omnicodec.service.batch.documents import Item

from .reading import read, told

PICTURE, SOUND = b"\x89PNG picture", b"RIFF sound"


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def of_records(folder: Path, *records: Any, **fields: Any) -> list[Any]:
    (folder / "a.jsonl").write_text("\n".join(map(json.dumps, records)))
    return [told(one) for one in read(folder / "a.jsonl", **fields)]


def test_lists_of_parts(tmp_path: Path) -> None:
    (tmp_path / "p.png").write_bytes(PICTURE)
    (tmp_path / "long").write_bytes(b"a text")
    document = [
        "first",
        {"type": "image", "image": b64(PICTURE)},
        {"type": "text", "text": "between"},
        {"type": "image", "path": "p.png"},
        {"type": "image", "image": "p.png"},
        {"type": "image", "bytes": b64(PICTURE)},
        {"type": "image", "url": f"data:image/png;base64,{b64(PICTURE)}"},
        {"type": "audio", "audio": {"bytes": b64(SOUND)}},
        {"type": "text", "path": "long"},
        {"type": "text", "text": ""},
    ]
    image, sound = ("image", PICTURE), ("audio", SOUND)
    wanted = [
        ("text", b"first"), image, ("text", b"between"), image, image, image, image, sound,
        ("text", b"a text"), ("text", b""),
    ]  # fmt: skip
    record = {"document": document, "text": "about it", "image": b64(b"thumbnail")}
    assert of_records(tmp_path, record) == [wanted]
    assert of_records(tmp_path, {"parts": document}, columns={"parts": "document"}) == [wanted]


def test_messages_of_chats(tmp_path: Path) -> None:
    url = f"data:image/png;base64,{b64(PICTURE)}"
    messages = [
        {"role": "system", "content": "Be kind."},
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "What is this?"},
                {"type": "image_url", "image_url": {"url": url, "detail": "low"}},
                {"type": "input_image", "image_url": url},
                {"type": "input_audio", "input_audio": {"data": b64(SOUND), "format": "wav"}},
            ],
        },
        {"role": "assistant", "content": "A picture.", "refusal": None},
        {"role": "assistant", "content": None},
    ]
    assert of_records(tmp_path, {"messages": messages}) == [
        [
            ("text", b"Be kind."),
            ("text", b"What is this?"),
            ("image", PICTURE),
            ("image", PICTURE),
            ("audio", SOUND),
            ("text", b"A picture."),
        ]
    ]


@pytest.mark.parametrize(
    ("document", "reason"),
    [
        ("text", "is not a list of parts"),
        ([3], "neither a string nor an object"),
        ([{"type": "image"}], "holds nothing that can be read"),
        ([{"type": "sculpture", "image": "x"}], "is of type 'sculpture'"),
        ([{"type": ["image"], "image": "x"}], "is of type ['image']"),
        ([{"text": "untold"}], "is of type None"),
        ([{"type": "image", "url": "https://example.org/a.png"}], "URLs are not fetched"),
        ([{"type": "text", "url": "https://example.org/a.txt"}], "URLs are not fetched"),
        ([{"type": "image_url", "image_url": {"url": "file:///etc/passwd"}}], "not fetched"),
        ([{"type": "image", "path": "/etc/passwd"}], "not the name of a file below"),
        ([{"type": "text", "path": "../a.txt"}], "not the name of a file below"),
        ([{"type": "image", "image": {"text": "x"}}], "holds text, not image"),
        ([{"type": "image", "image": []}], "is empty"),
        ([], "nothing in it is text or media"),
        (["x"] * 65_537, "LimitExceeded: 65,537 parts"),
    ],
)
def test_documents_that_cannot_be_read(tmp_path: Path, document: Any, reason: str) -> None:
    (reject,) = of_records(tmp_path, {"document": document})
    assert reason in reject


def test_a_document_over_the_limit_is_a_reject(tmp_path: Path) -> None:
    (reject,) = of_records(tmp_path, {"document": ["x" * 60, "y" * 60]}, max_bytes=100)
    assert "LimitExceeded: 120 bytes" in reject


def obelics(*rows: tuple[list[Any], list[Any]]) -> Any:
    """Return a table of the layout of OBELICS, its pictures as `datasets` stores them."""
    pa = pytest.importorskip("pyarrow")
    picture = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    return pa.table(
        {
            "images": pa.array([images for images, _ in rows], pa.list_(picture)),
            "metadata": ["[]"] * len(rows),
            "general_metadata": ["{}"] * len(rows),
            "texts": pa.array([texts for _, texts in rows], pa.list_(pa.string())),
        }
    )


def test_obelics(tmp_path: Path) -> None:
    pq = pytest.importorskip("pyarrow.parquet")
    picture = {"bytes": PICTURE, "path": None}
    table = obelics(
        ([None, picture, None, picture, picture], ["one", None, "two", None, None]),
        ([None, picture], ["one"]),
        ([picture], ["both"]),
        ([], []),
    )
    pq.write_table(table, tmp_path / "a.parquet")
    found = [told(one) for one in read(tmp_path / "a.parquet")]
    image = ("image", PICTURE)
    assert found[0] == [("text", b"one"), image, ("text", b"two"), image, image]
    assert found[1] == "InvalidInput: 1 texts beside 2 images"
    assert found[2] == "InvalidInput: a text and an image in one place of a document"
    assert "nothing in it" in found[3]


def test_obelics_as_published_has_urls_which_are_not_fetched(tmp_path: Path) -> None:
    record = {"images": [None, "https://example.org/a.jpg"], "texts": ["one", None]}
    assert "URLs are not fetched" in of_records(tmp_path, record)[0]
    record["images"] = [None, b64(PICTURE)]
    told_so = {"texts": "document", "images": "document"}
    for columns in ({}, told_so):
        found = of_records(tmp_path, record, columns=columns)
        assert found == [[("text", b"one"), ("image", PICTURE)]]


def test_mmc4(tmp_path: Path) -> None:
    for number in range(3):
        (tmp_path / f"{number}.png").write_bytes(PICTURE + bytes([number]))
    record: dict[str, Any] = {
        "url": "https://example.org",
        "text_list": ["one", "two", "three"],
        "image_info": [
            {"image_name": "2.png", "raw_url": "https://example.org/2", "matched_text_index": 2},
            {"image_name": "0.png", "raw_url": "https://example.org/0", "matched_text_index": 0},
            {"image_name": "1.png", "raw_url": "https://example.org/1", "matched_text_index": 2},
        ],
        "similarity_matrix": [[0.1, 0.2, 0.3]] * 3,
    }
    images = [("image", PICTURE + bytes([number])) for number in range(3)]
    texts = [("text", text) for text in (b"one", b"two", b"three")]
    wanted = [images[0], texts[0], texts[1], images[2], images[1], texts[2]]
    assert of_records(tmp_path, record) == [wanted]
    for info, data in zip(record["image_info"], (2, 0, 1), strict=True):
        info.pop("image_name")
        info["bytes"] = b64(PICTURE + bytes([data]))
    assert of_records(tmp_path, record) == [wanted]
    for index in (3, -1, None, "0", True):
        record["image_info"][0]["matched_text_index"] = index
        assert f"matches the text {index!r} of 3" in of_records(tmp_path, record)[0]
    record["image_info"] = [{"raw_url": "https://example.org/2", "matched_text_index": 0}]
    assert "neither bytes nor a name" in of_records(tmp_path, record)[0]


def test_documents_in_parquet(tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow")
    pq = pytest.importorskip("pyarrow.parquet")
    document = [
        {"type": "text", "text": "one", "bytes": None},
        {"type": "image", "text": None, "bytes": PICTURE},
    ]
    pq.write_table(pa.table({"document": [document, None]}), tmp_path / "a.parquet")
    item, reject = read(tmp_path / "a.parquet")
    assert isinstance(item, Item)
    assert told(item) == [("text", b"one"), ("image", PICTURE)]
    assert "nothing in it" in told(reject)
