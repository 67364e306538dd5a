"""Small networks of every published family, with random weights, as their libraries save them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import diffusers
import tokenizers
import torch
import transformers
from safetensors.torch import save_file

from omnicodec.codecs.hub.cosmos_fsq import CosmosConfig
from omnicodec.codecs.hub.cosmos_networks import Cosmos

_VQVAE: Final = {
    "base_channels": 32, "channel_multiplier": [1, 2], "num_res_blocks": 1, "embed_dim": 4,
    "latent_channels": 4,
}  # fmt: skip
_BLOCKS: Final = {
    "down_block_types": ("DownEncoderBlock2D",) * 2, "up_block_types": ("UpDecoderBlock2D",) * 2,
    "block_out_channels": (8, 16), "norm_num_groups": 4, "latent_channels": 4,
}  # fmt: skip
_STEREO: Final = {
    "sampling_rate": 48_000, "audio_channels": 2, "normalize": True, "chunk_length_s": 1.0,
    "overlap": 0.01, "norm_type": "time_group_norm", "use_causal_conv": False,
}  # fmt: skip


def _encodec(folder: Path, **options: Any) -> None:
    config = transformers.EncodecConfig(num_filters=4, hidden_size=16, codebook_size=64, **options)
    _save(transformers.EncodecModel(config), folder)


def _dac(folder: Path) -> None:
    config = transformers.DacConfig(
        encoder_hidden_size=4, decoder_hidden_size=64, n_codebooks=3, codebook_size=64
    )
    _save(transformers.DacModel(config), folder)


def _mimi(folder: Path) -> None:
    config = transformers.MimiConfig(
        num_filters=4, hidden_size=16, codebook_size=64, codebook_dim=8, num_quantizers=4,
        vector_quantization_hidden_dimension=8, upsample_groups=16, num_hidden_layers=2,
        intermediate_size=32, num_attention_heads=2, num_key_value_heads=2, head_dim=8,
    )  # fmt: skip
    _save(transformers.MimiModel(config), folder)


def _xcodec(folder: Path) -> None:
    config = transformers.XcodecConfig(
        codebook_size=64, target_bandwidths=[0.3, 0.6],
        acoustic_model_config={
            "model_type": "dac", "encoder_hidden_size": 4, "downsampling_ratios": [8, 5, 4, 2],
            "decoder_hidden_size": 64, "upsampling_ratios": [8, 5, 4, 2], "hidden_size": 16,
        },
        semantic_model_config={
            "model_type": "hubert", "hidden_size": 16, "num_hidden_layers": 2,
            "num_attention_heads": 2, "intermediate_size": 32, "conv_dim": [8] * 7,
            "num_conv_pos_embeddings": 8, "num_conv_pos_embedding_groups": 2,
        },
    )  # fmt: skip
    _save(transformers.XcodecModel(config), folder)


def _chameleon(folder: Path) -> None:
    config = transformers.ChameleonVQVAEConfig(**_VQVAE, num_embeddings=64, resolution=16)
    _save(transformers.ChameleonVQVAE(config), folder)


def _janus(folder: Path, **settings: Any) -> None:
    config = transformers.JanusVQVAEConfig(
        **_VQVAE, num_embeddings=64, num_patches=4, projection_dim=8, image_token_embed_dim=16
    )
    _save(transformers.JanusVQVAE(config), folder)
    if settings:
        file = folder / "config.json"
        file.write_text(json.dumps({**json.loads(file.read_text()), **settings}))


def _emu3(folder: Path) -> None:
    config = transformers.Emu3VQVAEConfig(
        **_VQVAE, codebook_size=64, temporal_downsample_factor=2, attn_resolutions=[1],
        hidden_size=64,
    )  # fmt: skip
    _save(transformers.Emu3VQVAE(config), folder)


def _autoencoder(name: str, **settings: Any) -> Callable[[Path], None]:
    return lambda folder: _save(getattr(diffusers, name)(**settings), folder)


def _cosmos(folder: Path, kind: str, **settings: Any) -> None:
    config = {
        "spatial": 8, "temporal": 0, "patch": 4, "channels": 32, "block_channels": [32, 64],
        "layers": 1, "latent_channels": 8, "levels": [8, 8, 8, 5, 5, 5],
        "model_type": f"cosmos_discrete_{kind}", **settings,
    }  # fmt: skip
    network = Cosmos(CosmosConfig.of(config, kind))
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(config))
    save_file(network.state_dict(), folder / "model.safetensors")


def _text(folder: Path) -> None:
    engine = tokenizers.Tokenizer(tokenizers.models.BPE())
    engine.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    engine.decoder = tokenizers.decoders.ByteLevel()
    alphabet = tokenizers.pre_tokenizers.ByteLevel.alphabet()
    trainer = tokenizers.trainers.BpeTrainer(initial_alphabet=alphabet, show_progress=False)
    engine.train_from_iterator(["lorem ipsum dolor sit amet"], trainer)
    folder.mkdir()
    engine.save(str(folder / "tokenizer.json"))


def _save(model: Any, folder: Path) -> None:
    for name, tensor in model.state_dict().items():  # libraries leave codebooks at zeros
        if tensor.is_floating_point() and not tensor.any() and "embed" in name:
            tensor.normal_(std=0.3)
    model.save_pretrained(folder)


NETWORKS: Final[dict[str, tuple[str, Callable[[Path], None]]]] = {
    "EnCodec, 24 kHz": ("wav", _encodec),
    "EnCodec, 48 kHz": ("wav", lambda folder: _encodec(folder, **_STEREO)),
    "DAC": ("wav", _dac),
    "Mimi": ("wav", _mimi),
    "X-Codec": ("wav", _xcodec),
    "VQModel": ("png", _autoencoder("VQModel", **_BLOCKS, num_vq_embeddings=64)),
    "Chameleon's VQ-VAE": ("png", _chameleon),
    "Janus's VQ-VAE": ("png", _janus),
    "LlamaGen's VQ": ("png", lambda folder: _janus(folder, model_type="llamagen_vq")),
    "Emu3's VQ-VAE": ("png", _emu3),
    "Cosmos, discrete, pictures": ("png", lambda folder: _cosmos(folder, "image")),
    "Cosmos, discrete, video": (
        "y4m",
        lambda folder: _cosmos(folder, "video", temporal=4, channels=8, block_channels=[8, 16]),
    ),
    "AutoencoderKL": ("png", _autoencoder("AutoencoderKL", **_BLOCKS)),
    "AutoencoderKLFlux2": ("png", _autoencoder("AutoencoderKLFlux2", **_BLOCKS)),
    "AutoencoderTiny": (
        "png",
        _autoencoder(
            "AutoencoderTiny", encoder_block_out_channels=(8, 8),
            decoder_block_out_channels=(8, 8), num_encoder_blocks=(1, 1), num_decoder_blocks=(1, 1),
        ),
    ),
    "AutoencoderDC": (
        "png",
        _autoencoder(
            "AutoencoderDC", attention_head_dim=4, latent_channels=4,
            encoder_block_types=("ResBlock", "EfficientViTBlock"),
            decoder_block_types=("ResBlock", "EfficientViTBlock"),
            encoder_block_out_channels=(8, 16), decoder_block_out_channels=(8, 16),
            encoder_layers_per_block=(1, 1), decoder_layers_per_block=(1, 1),
            encoder_qkv_multiscales=((), (5,)), decoder_qkv_multiscales=((), (5,)),
        ),
    ),
    "AutoencoderKLCosmos": (
        "y4m",
        _autoencoder(
            "AutoencoderKLCosmos", latent_channels=4, encoder_block_out_channels=(8, 8, 8),
            decode_block_out_channels=(8, 8, 8), attention_resolutions=(), num_layers=1,
            patch_size=2, spatial_compression_ratio=4, temporal_compression_ratio=2,
            latents_mean=None, latents_std=None,
        ),
    ),
    "text tokenizers": ("txt", _text),
}  # fmt: skip
"""By family, the ending of what it takes and what saves one of it."""


def make(folder: Path) -> dict[str, Path]:
    """Save one network of each family, and return where each lies."""
    found = {}
    for number, (title, (_, save)) in enumerate(NETWORKS.items()):
        torch.manual_seed(number)
        found[title] = folder / f"small-{number}"
        with torch.no_grad():
            save(found[title])
    return found
