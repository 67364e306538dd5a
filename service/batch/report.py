"""`omnicodec report`: a data set drawn as one page, in one pass over some or all of its rows."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from omnicodec.codecs import CorruptStream
from omnicodec.codecs.files import atomic_write
from omnicodec.service.batch.contents import Contents
from omnicodec.service.batch.documents import Reject
from omnicodec.service.batch.folder import Folder
from omnicodec.service.batch.report_page import Report, page
from omnicodec.service.batch.report_samples import Picker, samples
from omnicodec.service.batch.report_tally import Tally, counted_rows

ROWS: Final = 20_000
"""Rows that are read unless told otherwise: enough for figures of three digits."""

_EXAMPLES: Final = 3
"""Rejects that are shown of each error."""

_LINE: Final = 1 << 20
_UNREAD: Final = 10


def write_report(
    contents: Contents,
    path: Path,
    *,
    rows: int = ROWS,
    device: str = "auto",
    watch: Callable[[int], None] = lambda _: None,
) -> Report:
    """Write the page of a data set, and return what it was made of.

    Lengths and the use of codebooks are counted over at most so many `rows`, always the same
    ones; sizes, rejects and packing are those of the manifest, of all. `watch` is told how many of
    them are done. Memory does not grow with the data set. Raises `CorruptStream`
    when not one row can be read, and `InvalidInput` when the page cannot be written.
    """
    report = gather(contents, rows=rows, device=device, watch=watch)
    atomic_write(path, page(report).encode("utf-8", "backslashreplace"))
    return report


def gather(
    contents: Contents,
    *,
    rows: int = ROWS,
    device: str = "auto",
    watch: Callable[[int], None] = lambda _: None,
) -> Report:
    """Return all that the page of a data set is made of; as `write_report` has it."""
    total = len(contents)
    count, numbers = counted_rows(total, rows)
    manifest = contents.manifest
    tally = Tally(contents.vocabulary, manifest.facts.get("soft", ()))
    picker = Picker(count, manifest.modalities)
    unread: list[str] = []
    counted = 0

    def read(_: int) -> None:
        nonlocal counted
        counted += 1
        watch(counted + tally.unread)

    def damaged(row: int, error: CorruptStream) -> None:
        tally.unread += 1
        if len(unread) < _UNREAD:
            unread.append(f"row {row:,} cannot be read: {error}")

    for row, document in contents.walk(numbers, read=read, damaged=damaged):
        tally.add(document.parts, whole=document.whole and not document.problems)
        picker.see(counted + tally.unread - 1, row, document)
    if unread and not counted:
        raise CorruptStream(unread[0])
    return Report(
        title=contents.folder.resolve().name,
        manifest=manifest,
        vocabulary=contents.vocabulary,
        tally=tally,
        counted=counted,
        examples=examples(Folder(contents.folder).rejects),
        samples=samples(contents, picker.chosen(), device),
        unread=unread,
    )


def examples(path: Path) -> dict[str, Sequence[Reject]]:
    """Return the first rejects of each error, read line by line; none where there is no file."""
    found: dict[str, list[Reject]] = defaultdict(list)
    try:
        with open(path, "rb") as file:
            while line := file.readline(_LINE):
                reject = Reject.from_json(json.loads(line))
                if len(found[reject.error]) < _EXAMPLES:
                    found[reject.error].append(reject)
    except FileNotFoundError:
        return {}
    except (ValueError, TypeError) as e:
        raise CorruptStream(f"{path}: not a list of rejects: {e}") from e
    return dict(found)
