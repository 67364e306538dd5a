"""Published configurations at full size, saved with random weights: nothing is downloaded."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any, Final

import torch
from benches import _hub_library as library
from benches._hub_items import one, sound

from omnicodec.codecs import Unavailable

FILL_SECONDS: Final = 20


@dataclass(frozen=True, kw_only=True)
class Published:
    """A published codec: `cls` of its library with `options` beside the defaults.

    `streams` says that hours of it go through in constant memory.
    """

    title: str
    modality: str
    cls: str
    called: type[library.Library]
    options: Mapping[str, Any] = field(default_factory=dict)
    streams: bool = False

    def network(self) -> Any:
        """Return the network with the random weights that its library gives it."""
        cls = self._class()
        torch.manual_seed(0)
        if self._of_diffusers():
            return cls(**self.options)
        return cls(cls.config_class(**self.options))

    def saved(self, folder: Path, device: str) -> library.Library:
        """Return the network that lies in a folder, as its library is called."""
        cls = self._class()
        # diffusers' lazy loading wants accelerate.
        options = {"low_cpu_mem_usage": False} if self._of_diffusers() else {}
        return self.called(cls.from_pretrained(folder, **options), device)

    def sound_in(self, folder: Path) -> tuple[int, int]:
        """Return rate and channels of the network in a folder; zeros where it is not of sound."""
        if self.modality != "audio":
            return 0, 0
        return library.rate_and_channels(self._class().config_class.from_pretrained(folder))

    def make(self, folder: Path) -> int:
        """Save it to a folder, with codebooks that all codes are used of; return its parameters."""
        network = self.called(self.network())
        if self.modality == "audio":
            _without_biases(network.network)
            item: Any = sound(FILL_SECONDS, network.rate, network.channels, seed=99)
        else:
            item = one(self.modality, 0, 0)
        fill(network.network, lambda: network.encode(item))
        network.network.save_pretrained(folder)
        return sum(each.numel() for each in network.network.parameters())

    def _of_diffusers(self) -> bool:
        return self.cls.startswith("diffusers.")

    def _class(self) -> Any:
        module, _, name = self.cls.rpartition(".")
        try:
            return getattr(import_module(module), name)
        except ImportError as e:
            raise Unavailable(f'the benchmark needs: pip install "omnicodec[hub]" ({e})') from e


_DOWN, _UP = "DownEncoderBlock2D", "UpDecoderBlock2D"

PUBLISHED: Final[Mapping[str, Published]] = {
    "encodec24": Published(
        title="EnCodec, 24 kHz",
        modality="audio",
        cls="transformers.EncodecModel",
        called=library.Encodec,
        streams=True,
    ),
    "encodec48": Published(
        title="EnCodec, 48 kHz, stereo",
        modality="audio",
        cls="transformers.EncodecModel",
        called=library.Encodec,
        options={
            "target_bandwidths": [3.0, 6.0, 12.0, 24.0], "sampling_rate": 48_000,
            "audio_channels": 2, "normalize": True, "chunk_length_s": 1.0, "overlap": 0.01,
            "norm_type": "time_group_norm", "use_causal_conv": False,
        },
    ),
    "dac": Published(
        title="DAC, 44.1 kHz",
        modality="audio",
        cls="transformers.DacModel",
        called=library.Dac,
        options={"sampling_rate": 44_100},
    ),
    "mimi": Published(
        title="Mimi, 24 kHz",
        modality="audio",
        cls="transformers.MimiModel",
        called=library.Mimi,
        streams=True,
    ),
    "xcodec": Published(
        title="X-Codec, 16 kHz",
        modality="audio",
        cls="transformers.XcodecModel",
        called=library.Xcodec,
    ),
    "movq": Published(
        title="VQModel (MoVQ)",
        modality="image",
        cls="diffusers.VQModel",
        called=library.Vq,
        options={
            "down_block_types": (_DOWN, _DOWN, _DOWN, "AttnDownEncoderBlock2D"),
            "up_block_types": ("AttnUpDecoderBlock2D", _UP, _UP, _UP),
            "block_out_channels": (128, 256, 256, 512), "layers_per_block": 2,
            "latent_channels": 4, "vq_embed_dim": 4, "num_vq_embeddings": 16_384,
            "norm_type": "spatial",
        },
    ),
    "chameleon": Published(
        title="Chameleon",
        modality="image",
        cls="transformers.ChameleonVQVAE",
        called=library.Chameleon,
    ),
    "janus": Published(
        title="Janus",
        modality="image",
        cls="transformers.JanusVQVAE",
        called=library.Janus,
    ),
    "emu3": Published(
        title="Emu3, pictures",
        modality="image",
        cls="transformers.Emu3VQVAE",
        called=library.Emu3,
    ),
    "kl": Published(
        title="AutoencoderKL (Stable Diffusion)",
        modality="image",
        cls="diffusers.AutoencoderKL",
        called=library.Latents,
        options={
            "down_block_types": (_DOWN,) * 4, "up_block_types": (_UP,) * 4,
            "block_out_channels": (128, 256, 512, 512), "layers_per_block": 2,
            "sample_size": 512,
        },
    ),
    "cosmos": Published(
        title="AutoencoderKLCosmos",
        modality="video",
        cls="diffusers.AutoencoderKLCosmos",
        called=library.Clips,
    ),
}  # fmt: skip


def _without_biases(network: Any) -> None:
    """Zero those of convolutions: they begin larger than the sound, and would drown it."""
    for module in network.modules():
        if (
            isinstance(module, torch.nn.Conv1d | torch.nn.ConvTranspose1d)
            and module.bias is not None
        ):
            module.bias.zero_()


# Of modules that have a codebook, by the end of their class's name: the method that quantizes, the
# axis of its input along which the numbers of one position lie, and the names of the table.
_CODEBOOKS: Final = {
    "EuclideanCodebook": ("quantize", -1, ("embed", "embed_sum")),
    "DacVectorQuantize": ("decode_latents", -2, ("codebook.weight",)),
    "VectorQuantizer": ("forward", -3, ("embedding.weight",)),
}
_SPREAD: Final = 0.7  # of entries, beside that of what comes to them
_ROWS: Final = 1024  # whose spread is taken


def fill(network: Any, encode: Callable[[], object]) -> None:
    """Fill codebooks with random numbers spread as those that come to them while `encode` runs.

    The libraries start some with zeros, and others far from what random weights make: all codes
    would be alike. A codebook is filled when something first comes to it, so that residual levels
    get what is left of the level before. Entries are mixtures of what came, never one of it alone:
    later levels would have nothing left to code of this item, and be far too fine for any other.
    """
    for module in list(network.modules()):
        name = type(module).__name__
        for ending, (method, axis, tables) in _CODEBOOKS.items():
            if name.endswith(ending) and "Residual" not in name:
                state = dict(module.named_parameters()) | dict(module.named_buffers())
                table = next(state[key] for key in reversed(tables) if key in state)
                _fill_at_first(module, method, axis, table)
    with torch.inference_mode():
        encode()


def _fill_at_first(module: Any, method: str, axis: int, table: torch.Tensor) -> None:
    quantize = getattr(module, method)

    def filling(states: torch.Tensor) -> Any:
        rows = states.movedim(axis, -1).reshape(-1, table.shape[1])
        rows = rows[torch.randperm(len(rows))[:_ROWS]]
        mean = rows.mean(0)
        mixture = torch.randn(len(table), len(rows)) @ (rows - mean) / len(rows) ** 0.5
        table.copy_(mean + _SPREAD * mixture)
        delattr(module, method)
        return quantize(states)

    setattr(module, method, filling)
