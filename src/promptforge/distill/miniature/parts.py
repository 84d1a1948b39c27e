"""The untrained parts of the miniature pipeline, all of diffusers' and transformers' own classes.

Pictures of 64 px are 8 x 8 latents of 16 channels, 16 tokens for the transformer; a prompt is 16 tokens. The tokenizer
knows the world's words and spells everything else, as a sign's letters, by characters. CLIP's pooled embedding is
never used (pooled = "zero"): the pipeline wants a CLIP, so it gets one of no use.
"""

from __future__ import annotations

import string
from typing import Any

from promptforge.sources import miniature

SIZE = 64  #: side of a picture in px
LENGTH = 16  #: tokens of a prompt
WIDTH = 128  #: of the transformer and the text encoder
CHANNELS = 16  #: of a latent


def tokenizer() -> Any:
    """T5's tokenizer over the world's words and all printable ASCII characters; a word costs less than its letters."""
    from transformers import T5TokenizerFast

    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -10.0)]
    pieces += [(character, -10.0) for character in string.printable if not character.isspace()]
    # a word of one character stands among those already, without the blank before it
    pieces += [(f"▁{word}", -5.0) for word in miniature.words()]
    return T5TokenizerFast(vocab=pieces, extra_ids=0, model_max_length=LENGTH)


def clip_tokenizer() -> Any:
    """CLIP's class over single bytes."""
    from tokenizers.pre_tokenizers import ByteLevel
    from transformers import CLIPTokenizer

    alphabet = sorted(ByteLevel.alphabet())
    pieces = [*alphabet, *(f"{letter}</w>" for letter in alphabet), "<|startoftext|>", "<|endoftext|>"]
    return CLIPTokenizer(vocab={piece: number for number, piece in enumerate(pieces)}, merges=[], model_max_length=77)


def clip(n_tokens: int) -> Any:
    """A CLIP text model of a few thousand weights."""
    from transformers import CLIPTextConfig, CLIPTextModel

    return CLIPTextModel(
        CLIPTextConfig(
            vocab_size=n_tokens,
            hidden_size=8,
            intermediate_size=8,
            num_hidden_layers=1,
            num_attention_heads=1,
            projection_dim=8,
            max_position_embeddings=77,
            bos_token_id=n_tokens - 2,
            eos_token_id=n_tokens - 1,
            pad_token_id=n_tokens - 1,
        )
    )


def text_encoder(n_tokens: int, width: int = WIDTH, layers: int = 4) -> Any:
    """A T5 encoder; the teacher's by default, narrower and flatter ones for students."""
    from transformers import T5Config, T5EncoderModel

    config = T5Config(
        vocab_size=n_tokens,
        d_model=width,
        d_kv=32,
        d_ff=2 * width,
        num_layers=layers,
        num_heads=max(1, width // 32),
        dropout_rate=0.0,
        is_gated_act=True,
        feed_forward_proj="gated-gelu",
    )
    return T5EncoderModel(config)


def transformer() -> Any:
    """FLUX's transformer without guidance embedding, as that of FLUX.1 [schnell]."""
    from diffusers import FluxTransformer2DModel

    return FluxTransformer2DModel(
        in_channels=4 * CHANNELS,
        num_layers=2,
        num_single_layers=5,
        attention_head_dim=32,
        num_attention_heads=WIDTH // 32,
        joint_attention_dim=WIDTH,
        pooled_projection_dim=8,
        guidance_embeds=False,
        axes_dims_rope=(8, 12, 12),
    )


def autoencoder() -> Any:
    """FLUX's autoencoder in small: 8 px a latent position."""
    from diffusers import AutoencoderKL

    return AutoencoderKL(
        block_out_channels=(16, 32, 48, 64),
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        latent_channels=CHANNELS,
        layers_per_block=1,
        norm_num_groups=8,
        sample_size=SIZE,
        use_quant_conv=False,
        use_post_quant_conv=False,
    )


def scheduler() -> Any:
    """Straight flow without shift: a latent of 16 tokens needs none."""
    from diffusers import FlowMatchEulerDiscreteScheduler

    return FlowMatchEulerDiscreteScheduler(shift=1.0, use_dynamic_shifting=False)
