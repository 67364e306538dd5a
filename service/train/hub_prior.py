"""The prior of a published codec: how often each code occurs in media of one's own."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any, Final

import numpy as np

from omnicodec.codecs import InvalidInput, Media, Tokens, load
from omnicodec.codecs.hub.hub_codec import HubCodec
from omnicodec.codecs.hub.prior import save_prior
from omnicodec.codecs.prior.static import StaticPrior
from omnicodec.service.evaluate.data import Source

_AT_ONCE: Final = 16


def train_prior(
    name: str, data: Path, *, device: str = "auto", report: Callable[[str], None] = print
) -> Path:
    """Measure the prior of the published codec `hf:…` on media, and make it the codec's own here.

    `data` is a file, a folder or a .tar shard; files that cannot be read are left out, as
    `report` is told. Returns the file in the user's cache. What is compressed from then on uses
    this prior, and streams that were made with an earlier one are still read. Raises
    `InvalidInput` when there are no media of the codec's modality, and what `load` raises.
    """
    codec = load(name, device=device)
    if not isinstance(codec, HubCodec):
        raise InvalidInput(f"{codec.spec.name} is no published codec: train has a recipe for it")
    if codec.spec.soft_width:
        raise InvalidInput(f"{codec.spec.name}: real-valued tokens have no codes to count")
    if not codec.spec.codebook_sizes or codec.spec.lossless:
        raise InvalidInput(f"{codec.spec.name} has no codebooks whose codes could be counted")
    media = (item for _, item in Source(data, codec.media_type, report))
    counts = [np.zeros(size, np.int64) for size in codec.spec.codebook_sizes]
    items = positions = 0
    for tokens in _encoded(codec, media):
        items, positions = items + 1, positions + len(tokens)
        for count, row in zip(counts, tokens.ids, strict=True):
            count += np.bincount(row, minlength=count.size)
    if not positions:
        raise InvalidInput(f"there is no {codec.spec.modality} in {str(data)!r}")
    prior = StaticPrior.train([[count] for count in counts])
    report(
        f"{items:,} items, {positions:,} positions: {prior.bits_per_position:.2f} of "
        f"{np.log2(codec.spec.codebook_sizes).sum():.2f} bits a position"
    )
    return save_prior(codec.spec.fingerprint, prior)


def _encoded(codec: HubCodec[Any], media: Iterable[Media]) -> Iterator[Tokens]:
    media = iter(media)
    while some := list(islice(media, _AT_ONCE)):
        yield from codec.encode(some)
