"""A finished data set as a `torch.utils.data.Dataset`: random access, in any layout it can have."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import Dataset

from omnicodec.codecs import InvalidInput
from omnicodec.codecs.vocabulary import Vocabulary
from omnicodec.codecs.vocabulary.entry import no_ids
from omnicodec.service.batch.folder import Folder
from omnicodec.service.batch.layout import Layout
from omnicodec.service.batch.manifest import Manifest
from omnicodec.service.batch.order import Order
from omnicodec.service.batch.sinks import open_sink
from omnicodec.service.batch.sinks.base import Ids, PackedRow, RawRow, Row

PADDING = -1
"""What `documents` has where a sequence is padded."""


class TokenDataset(Dataset[dict[str, Any]]):
    """The rows of a data set, each a dict of NumPy arrays; use `open`.

    Where the vocabulary has several rows, `ids` are `(rows, L)` in place of `(L,)`. All integers
    are int64, as embeddings and losses take them.

        raw        key, source, parts: a list of dicts with codec, modality, ids (codebooks, N),
                   grid and extent; real-valued tokens have soft (N, D), float16 or float32 as they
                   are stored, and ids (0, N)
        document   key, source, ids (N,)
        packed     ids (L,), positions (L,), documents (L,): the number of each position's document
                   in its sequence, -1 for padding

    May be used by the worker processes of a `DataLoader`, however they are started.
    """

    def __init__(self, folder: str | os.PathLike[str], layout: str | None = None) -> None:
        home = Folder(Path(folder))
        self.manifest = Manifest.load(home.path)
        self.vocabulary = Vocabulary.load(home.vocabulary)
        facts = self.manifest.facts
        stored = facts["layout"]
        self.layout = layout or stored
        self._layout: Layout | None = None
        if self.layout != stored:
            if (stored, self.layout) != ("raw", "document"):
                raise InvalidInput(
                    f"this data set is {stored}, which cannot be read as {self.layout}"
                )
            if soft := facts.get("soft"):
                raise InvalidInput(no_ids(next(iter(soft))))
            self._layout = Layout.from_facts({**facts, "layout": "document"}, self.vocabulary)
        sink = open_sink(self.manifest.sink, facts)
        self.rows = sink.open(home.data, sorted(self.manifest.files))
        self._modalities = self.manifest.modalities

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> dict[str, Any]:
        """Return a row, from the end for a negative number.

        Raises `IndexError` beyond, `CorruptStream` for damaged files.
        """
        return self._item(self.rows[index + len(self) if index < 0 else index])

    def __getitems__(self, indices: Sequence[int]) -> list[dict[str, Any]]:
        """Return several rows; neighbours are read together, whatever their order here."""
        found = {index: self[index] for index in sorted(set(indices))}
        return [found[index] for index in indices]

    def order(self, **options: Any) -> Order:
        """Return an `Order` of these rows, for the `sampler` of a `DataLoader`."""
        return Order(len(self), **options)

    def collate(self, items: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """Return documents as one batch: the `collate_fn` for those of different lengths.

        `ids`, int64 `(batch, L)` or `(batch, rows, L)`, are padded at the end; `mask`, bool
        `(batch, L)`, is True where they are not. Packed sequences need no more than the default.
        """
        if self.layout == "raw":
            raise InvalidInput("raw parts make no batch; open the data set with layout='document'")
        longest = max(item["ids"].shape[-1] for item in items)
        shape = (len(items), *items[0]["ids"].shape[:-1], longest)
        ids = np.full(shape, self.vocabulary.pad, np.int64)
        mask = np.zeros((len(items), longest), bool)
        for i, item in enumerate(items):
            size = item["ids"].shape[-1]
            ids[i, ..., :size] = item["ids"]
            mask[i, :size] = True
        batch: dict[str, Any] = {"ids": torch.from_numpy(ids), "mask": torch.from_numpy(mask)}
        for name in ("positions", "documents"):
            if name in items[0]:
                batch[name] = torch.from_numpy(np.stack([item[name] for item in items]))
        return batch

    def close(self) -> None:
        """Close files; the object is of no use afterwards."""
        self.rows.close()

    def _item(self, row: Row) -> dict[str, Any]:
        if isinstance(row, PackedRow):
            return {
                "ids": self._ids(row.ids),
                "positions": row.positions.astype(np.int64),
                "documents": documents_of(row, self.vocabulary.pad),
            }
        names = {"key": row.key, "source": row.source}
        if not isinstance(row, RawRow):
            return {**names, "ids": self._ids(row.ids)}
        if self._layout:
            return {**names, "ids": self._ids(self._layout.document(row.parts))}
        parts = [
            {
                "codec": part.codec,
                "modality": self._modalities[part.codec],
                "ids": part.ids.astype(np.int64),
                **({} if part.soft is None else {"soft": part.soft}),
                "grid": part.grid,
                "extent": dict(part.extent),
            }
            for part in row.parts
        ]
        return {**names, "parts": parts}

    def _ids(self, ids: Ids) -> NDArray[np.int64]:
        return (ids[0] if len(ids) == 1 else ids).astype(np.int64)


def open(folder: str | os.PathLike[str], *, layout: str | None = None) -> TokenDataset:  # noqa: A001
    """Open what `omnicodec tokenize` wrote.

    `layout` is what the rows are read as: as they are stored, or raw ones as "document". Raises
    `InvalidInput` where there is no finished data set or no such layout, `CorruptStream` for a
    damaged one and `Unavailable` for a library that is missing.
    """
    return TokenDataset(folder, layout)


def documents_of(row: PackedRow, pad: int) -> NDArray[np.int64]:
    """Return which document of its sequence each position is of, int64 `(L,)`; -1 for padding."""
    length = row.ids.shape[1]
    numbers = np.arange(len(row.starts))
    last = int(row.starts[-1])
    if (row.ids[:, last] == pad).all():
        numbers[-1] = PADDING
    return np.repeat(numbers, np.diff([*row.starts, length]))


def mask(documents: torch.Tensor) -> torch.Tensor:
    """Return which positions may attend to which: bool `(..., L, L)`, for `documents` `(..., L)`.

    Causal, and within one document; padding sees itself alone, so that no row is empty. It is the
    `attn_mask` of `torch.nn.functional.scaled_dot_product_attention`, with a dimension for heads.
    """
    length = documents.shape[-1]
    same = documents[..., :, None] == documents[..., None, :]
    causal = torch.ones(length, length, dtype=torch.bool, device=documents.device).tril()
    alone = torch.eye(length, dtype=torch.bool, device=documents.device)
    return (same & causal & (documents[..., :, None] != PADDING)) | alone


def cu_seqlens(documents: torch.Tensor) -> torch.Tensor:
    """Return where documents begin and end in a batch that is laid end to end, int32 `(n + 1,)`.

    `documents` is `(L,)` or `(batch, L)`; padding counts as a document. This is what attention of
    variable length takes (`flash_attn_varlen_func`, `torch.nn.attention.varlen`).
    """
    batch = documents.reshape(-1, documents.shape[-1])
    changes = torch.ones_like(batch, dtype=torch.bool)
    changes[:, 1:] = batch[:, 1:] != batch[:, :-1]
    starts = changes.reshape(-1).nonzero().reshape(-1)
    end = torch.tensor([batch.numel()], device=documents.device)
    return torch.cat([starts, end]).to(torch.int32)
