"""Which configuration is opened by which adapter."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from omnicodec.codecs.errors import InvalidInput
from omnicodec.codecs.hub.files import WEIGHTS

if TYPE_CHECKING:
    from omnicodec.codecs.hub.hub_codec import HubCodec


CONVERT: Final = "python -m omnicodec.codecs.hub.convert"
"""The command that makes folders which open of what is published in no such form."""


@dataclass(frozen=True, kw_only=True)
class Family:
    """One adapter: `cls` in `codecs/hub/<module>.py`, and how its folders are recognised.

    That is by a key of `config.json` which has one of `values`, or by `files` that are there.
    `library` is the class that it stands on. `weights` are the names that its file of weights may
    have, none for a family without; where there is an index instead, only the files that hold
    tensors with `prefix`, or one of several, are taken. `also` are further files
    whose content makes the codes.
    """

    title: str
    module: str
    cls: str
    library: str
    key: str = "model_type"
    values: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    prefix: str | tuple[str, ...] = ""
    weights: tuple[str, ...] = WEIGHTS
    also: tuple[str, ...] = ()

    def fits(self, config: Mapping[str, Any], folder: Path) -> bool:
        if config.get(self.key) in self.values:
            return True
        return bool(self.files) and all((folder / name).exists() for name in self.files)

    def convert(self, name: str) -> str:
        """Return the command that makes safetensors of the pickle in a repository or folder."""
        library, _, cls = self.library.rpartition(".")
        return (
            f'python -c "from {library} import {cls}; {cls}.from_pretrained({name!r}, '
            "use_safetensors=False).save_pretrained('converted')\""
        )

    def adapter(self) -> type[HubCodec[Any]]:
        module = import_module(f"omnicodec.codecs.hub.{self.module}")
        found: type[HubCodec[Any]] = getattr(module, self.cls)
        return found


# The first that fits is taken.
FAMILIES: Final[tuple[Family, ...]] = (
    Family(
        title="EnCodec",
        module="encodec",
        cls="EncodecCodec",
        library="transformers.EncodecModel",
        values=("encodec",),
    ),
    Family(
        title="DAC",
        module="dac",
        cls="DacCodec",
        library="transformers.DacModel",
        values=("dac",),
    ),
    Family(
        title="Mimi",
        module="mimi",
        cls="MimiCodec",
        library="transformers.MimiModel",
        values=("mimi",),
    ),
    Family(
        title="X-Codec",
        module="xcodec",
        cls="XcodecCodec",
        library="transformers.XcodecModel",
        values=("xcodec",),
    ),
    Family(
        title="VQModel",
        module="diffusers_vq",
        cls="DiffusersVqCodec",
        library="diffusers.VQModel",
        key="_class_name",
        values=("VQModel",),
    ),
    *(
        Family(
            title=name,
            module="autoencoder_kl",
            cls="AutoencoderKlCodec",
            library=f"diffusers.{name}",
            key="_class_name",
            values=(name,),
        )
        for name in ("AutoencoderKL", "AutoencoderKLFlux2", "AutoencoderTiny", "AutoencoderDC")
    ),
    Family(
        title="AutoencoderKLCosmos",
        module="cosmos",
        cls="CosmosCodec",
        library="diffusers.AutoencoderKLCosmos",
        key="_class_name",
        values=("AutoencoderKLCosmos",),
    ),
    Family(
        title="Chameleon's VQ-VAE",
        module="chameleon",
        cls="ChameleonCodec",
        library="transformers.ChameleonVQVAE",
        values=("chameleon_vqgan",),
        also=("preprocessor_config.json",),
    ),
    Family(
        title="Chameleon",
        module="chameleon",
        cls="ChameleonCodec",
        library="transformers.ChameleonForConditionalGeneration",
        values=("chameleon",),
        prefix="model.vqmodel.",
        also=("preprocessor_config.json",),
    ),
    Family(
        title="Janus's VQ-VAE",
        module="janus",
        cls="JanusCodec",
        library="transformers.JanusVQVAE",
        values=("janus_vqgan",),
        also=("preprocessor_config.json",),
    ),
    Family(
        title="Janus",
        module="janus",
        cls="JanusCodec",
        library="transformers.JanusForConditionalGeneration",
        values=("janus",),
        prefix="model.vqmodel.",
        also=("preprocessor_config.json",),
    ),
    Family(
        title="LlamaGen's VQ",
        module="llamagen",
        cls="LlamaGenCodec",
        library="transformers.JanusVQVAE",
        values=("llamagen_vq",),
        also=("preprocessor_config.json",),
    ),
    Family(
        title="Emu3's VQ-VAE",
        module="emu3",
        cls="Emu3Codec",
        library="transformers.Emu3VQVAE",
        values=("emu3_vqgan",),
        also=("preprocessor_config.json",),
    ),
    Family(
        title="Emu3",
        module="emu3",
        cls="Emu3Codec",
        library="transformers.Emu3ForConditionalGeneration",
        values=("emu3",),
        prefix=("model.vqmodel.", "vqmodel."),  # of newer and of older versions of the library
        also=("preprocessor_config.json",),
    ),
    Family(
        title="Cosmos's discrete tokenizers of pictures",
        module="cosmos_fsq",
        cls="CosmosImageCodec",
        library="diffusers.AutoencoderKLCosmos",
        values=("cosmos_discrete_image",),
    ),
    Family(
        title="Cosmos's discrete tokenizers of video",
        module="cosmos_fsq",
        cls="CosmosVideoCodec",
        library="diffusers.AutoencoderKLCosmos",
        values=("cosmos_discrete_video",),
    ),
    # Behind all others, which may be parts of a language model with its tokenizer.
    Family(
        title="text tokenizers (tokenizer.json)",
        module="text",
        cls="HubText",
        library="tokenizers.Tokenizer",
        files=("tokenizer.json",),
        weights=(),
        also=("tokenizer.json",),
    ),
)


def family_of(config: Mapping[str, Any], folder: Path) -> Family:
    """Return the family of a folder; raises `InvalidInput` that lists those that are known."""
    for family in FAMILIES:
        if family.fits(config, folder):
            return family
    known = f"known: {', '.join(family.title for family in FAMILIES)}"
    if why := unsupported(config, folder):
        raise InvalidInput(f"{str(folder)!r} is not supported yet: {why}; {known}")
    what = ", ".join(f"{k} {config[k]!r}" for k in ("model_type", "_class_name") if k in config)
    raise InvalidInput(
        f"{str(folder)!r} is of no known family ({what or 'its configuration names none'}); {known}"
    )


def unsupported(config: Mapping[str, Any], folder: Path) -> str:
    """Return why what no family fits cannot be opened; "" where that is not known."""
    kind = str(config.get("_class_name", ""))
    # A cache has repositories as models--OWNER--NAME/snapshots/COMMIT.
    name = (folder.parents[1].name if folder.parent.name == "snapshots" else folder.name).lower()
    if "Autoencoder" in kind:
        return f"{kind} is another network than the autoencoders of diffusers that are known"
    if any(folder.glob("*.jit")) or "cosmos-tokenizer" in name or "cosmos-0.1-tokenizer" in name:
        variant = re.search(r"d[iv]\d+x\d+(x\d+)?", name)
        discrete = variant[0].upper().replace("X", "x") if variant else "DV8x16x16"
        return (
            "Cosmos tokenizers are TorchScript (.jit), programs that are not run here; for the "
            f"tensors of a discrete one, where a hostile file does no harm, run {CONVERT} cosmos "
            f"{discrete} autoencoder.jit converted, and open hf:converted; the continuous "
            "ones of video open as AutoencoderKLCosmos of diffusers"
        )
    pickles = sorted(path.name for path in folder.glob("vq_ds*_*.pt"))
    if pickles or "llamagen" in name:
        file = pickles[0] if pickles else "vq_ds16_c2i.pt"
        return (
            "LlamaGen's tokenizers are pickles without a configuration, and a pickle can run any "
            f"code when it is read; where that does no harm, run {CONVERT} llamagen {file} "
            "converted, and open hf:converted"
        )
    for file in ("tokenizer.model", "spiece.model", "merges.txt"):
        if (folder / file).exists():
            return (
                f"a text tokenizer in {file} without a tokenizer.json, which transformers' "
                "AutoTokenizer writes with save_pretrained"
            )
    return ""
