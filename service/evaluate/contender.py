"""A codec in an evaluation, and what was measured of it so far."""

from __future__ import annotations

from collections.abc import Mapping

from omnicodec.codecs import Media
from omnicodec.codecs.registry import AnyCodec
from omnicodec.service.evaluate.curves import Measured
from omnicodec.service.evaluate.figures import CodecReport, Item, QualityReport, Summary
from omnicodec.service.evaluate.measure import Result, measure_codec
from omnicodec.service.evaluate.modality import Modality

Quality = int | None


class Contender:
    """One codec at one quality or more, None being its own choice; the first is the main one.

    `name` is the codec's, with more where two have the same.
    """

    def __init__(
        self, name: str, codec: AnyCodec, qualities: tuple[Quality, ...], effort: str | None
    ) -> None:
        self.name = name
        self.codec = codec
        self.qualities = qualities
        self._effort = effort
        self._items: dict[Quality, list[Item]] = {quality: [] for quality in qualities}

    @property
    def main(self) -> list[Item]:
        """The items at the main quality, so far."""
        return self._items[self.qualities[0]]

    def warm_up(self, kind: Modality, name: str, media: Media) -> None:
        """Do an item once without counting it: the first call of anything is slow.

        Of a codec whose encode takes minutes, only its loops are compiled.
        """
        if self.codec.spec.resumable:
            self.codec.warm()
            return
        measure_codec(self.codec, kind, name, media, self.qualities[0], self._effort)

    def measure(self, kind: Modality, name: str, media: Media) -> Mapping[Quality, Result]:
        """Measure and keep an item at each quality."""
        results = {}
        for quality in self.qualities:
            result = measure_codec(self.codec, kind, name, media, quality, self._effort)
            self._items[quality].append(result.item)
            results[quality] = result
        return results

    def report(self, kind: Modality) -> CodecReport:
        """Return the figures at each quality, the main one first."""
        spec = self.codec.spec
        return CodecReport(
            codec=self.name,
            version=spec.version,
            fingerprint=spec.fingerprint,
            points=tuple(
                QualityReport(
                    quality=quality,
                    summary=Summary.of(items, pooled=kind.pooled),
                    items=tuple(items),
                )
                for quality, items in self._items.items()
            ),
        )

    def curve(self, kind: Modality) -> Measured:
        """Return rate and quality over the qualities, by "-q N"."""
        named = {"" if q is None else f"-q {q}": items for q, items in self._items.items()}
        return Measured.of(self.name, named, anchor=False, pooled=kind.pooled)
