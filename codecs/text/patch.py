"""`text/patch`: byte patches, each as a few learned codes, or just their lengths."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from typing import ClassVar, Final, Self

import numpy as np
from numpy.typing import NDArray

from omnicodec.codecs.codec import Codec, CodecSpec, Mask, Settings
from omnicodec.codecs.limits import MAX_POSITIONS, check_count
from omnicodec.codecs.media import Media, Text
from omnicodec.codecs.prior import StaticPrior
from omnicodec.codecs.registry import register
from omnicodec.codecs.text import _patch_tokens as patch_tokens
from omnicodec.codecs.text._segmentation import BIT, METHODS, Segmentation
from omnicodec.codecs.threads import in_order
from omnicodec.codecs.tokens import Tokens
from omnicodec.models import weights

NAME: Final = "text/patch"


@register(NAME)
class PatchCodec(Codec[Text]):
    """Any bytes as patches: one position a patch, K codes a position.

    Methods are ways to cut, see `Segmentation`; all are decoded alike. The codes and the
    bytes before a patch give back its bytes; where they would not, the patch is spelled, so
    that every text comes back. Both directions are integer arithmetic, equal everywhere.
    """

    media_type: ClassVar[type[Media]] = Text
    on_device: ClassVar[bool] = False
    parallel: ClassVar[bool] = True
    chunk_positions: ClassVar[int] = 1 << 12

    def __init__(self, shipped: weights.Shipped) -> None:
        self._shipped = shipped
        self.spec = _spec(shipped)
        self.prior = StaticPrior.from_tables(shipped.prior)
        self.segmentation = Segmentation.from_config(shipped.config["segmentation"])
        self._bits = int(shipped.config["network"]["bits"])
        self._network: patch_tokens.PatchTokens | None = None
        self._building = threading.Lock()

    @classmethod
    def describe(cls) -> CodecSpec:
        return _spec(weights.read(NAME))

    @classmethod
    def open(cls, device: str) -> Self:
        return cls(weights.read(NAME))

    def patches(self, text: Text | str | bytes, method: str | None = None) -> NDArray[np.int32]:
        """Return the lengths in bytes of a text's patches, int32 `(P,)`.

        They add up to the text's length. Whether a patch begins at a byte depends on the
        bytes before it alone. No network is loaded. Raises `InvalidInput` for an unknown
        method.
        """
        data = text.data if isinstance(text, Text) else text
        if isinstance(data, str):
            data = data.encode("utf-8", "surrogatepass")
        from omnicodec.codecs.prior.mixer import byte_model

        return self.segmentation.lengths(
            data,
            method or METHODS[0],
            entropy=lambda data: byte_model().nibble_entropy(data),
            surprisal=lambda data: byte_model().surprisal(data),
        )

    def patches_of(
        self, texts: Iterable[Text | str | bytes], method: str | None = None
    ) -> list[NDArray[np.int32]]:
        """Return `patches` of each text, from several threads."""
        return list(in_order(lambda text: self.patches(text, method), texts))

    def expected_grid(self, extent: Mapping[str, int], positions: int) -> tuple[int, ...]:
        check_count(positions, MAX_POSITIONS, "tokens")
        return (positions,)

    def warm(self) -> None:
        super().warm()
        for method in self.spec.methods:
            self.decode(self.encode([Text(b"warm, then ready\0\xff")], method=method))

    def check(self, tokens: Tokens) -> None:
        super().check(tokens)
        patch_tokens.check(tokens.ids, self._bits)

    def _encode(self, item: Text, settings: Settings) -> Tokens:
        ids = self._tokens.encode(item.data, self.patches(item, settings.method))
        return Tokens(NAME, self.spec.fingerprint, ids, (ids.shape[1],))

    def _decode(self, tokens: Tokens, missing: Mask | None) -> Text:
        # Lost positions are left out, not guessed; what follows one may read wrongly.
        ids = tokens.ids if missing is None else tokens.ids[:, ~missing]
        return Text(self._tokens.decode(ids))

    @property
    def _tokens(self) -> patch_tokens.PatchTokens:
        with self._building:
            if self._network is None:
                from omnicodec.models.text.coder import PatchCoder
                from omnicodec.models.text.patch import PatchConfig

                config = PatchConfig.from_dict(self._shipped.config["network"])
                self._network = patch_tokens.PatchTokens(PatchCoder(config, self._shipped.tensors))
            return self._network


def _spec(shipped: weights.Shipped) -> CodecSpec:
    config = shipped.config
    network, cuts = config["network"], Segmentation.from_config(config["segmentation"])
    thresholds = {
        name: f"{getattr(cuts, name) / BIT:.3f} bits"
        for name in ("entropy", "monotonic", "surprisal")
    }
    return CodecSpec(
        name=NAME,
        version=config["version"],
        modality="text",
        summary=f"byte patches of {cuts.average / 1000} bytes on average, "
        f"each {network['codebooks']} codes of {network['bits']} bits",
        fingerprint=shipped.fingerprint,
        codebook_sizes=patch_tokens.codebook_sizes(network["codebooks"], network["bits"]),
        covers={"bytes": cuts.average / 1000},
        prior=StaticPrior.from_tables(shipped.prior).fingerprint,
        lossless=True,
        methods=METHODS,
        weight_bytes=shipped.nbytes,
        citation="Byte Latent Transformer: Pagnoni et al. 2024, arXiv:2412.09871; "
        "SpaceByte: Slagle 2024, arXiv:2404.14408; MEGABYTE: Yu et al. 2023, arXiv:2305.07185",
        details={
            "longest patch": f"{cuts.longest} bytes",
            "average patch": f"{cuts.average / 1000} bytes, which the thresholds of entropy, "
            "monotonic and surprisal move to reach; that of global does not move",
            **{f"threshold of {name}": value for name, value in thresholds.items()},
            "stride": f"{cuts.stride} bytes",
        },
    )
