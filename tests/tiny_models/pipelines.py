"""Tiny FLUX, Stable Diffusion 3 and Stable Diffusion pipelines with random weights, built from the libraries' configs.

The VAE has four blocks, as the real ones have: with fewer, a picture of 512 px has 16 to 64 times as many latent
positions. Equal seeds give equal files.
"""

from contextlib import contextmanager
from pathlib import Path

from promptforge.models.torch_setup import load_torch

from .tokenizers import clip_tokenizer, t5_tokenizer

WIDTH = 32  #: of every embedding and attention
LATENT_CHANNELS = 4


@contextmanager
def _seeded(seed: int):
    torch = load_torch()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


def _vae(**more):
    from diffusers import AutoencoderKL

    vae = AutoencoderKL(
        block_out_channels=(4, 4, 4, 4),
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        latent_channels=LATENT_CHANNELS,
        layers_per_block=1,
        norm_num_groups=1,
        sample_size=64,
        **more,
    ).eval()
    last = vae.decoder.conv_out
    last.weight.data.mul_(4)  # else random weights give grey pictures of a few levels
    return vae


def _clip(n_tokens: int, projected: bool):
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

    config = CLIPTextConfig(
        vocab_size=n_tokens,
        hidden_size=WIDTH,
        intermediate_size=2 * WIDTH,
        num_hidden_layers=2,
        num_attention_heads=4,
        projection_dim=WIDTH,
        max_position_embeddings=77,
        bos_token_id=n_tokens - 2,
        eos_token_id=n_tokens - 1,
        pad_token_id=n_tokens - 1,
    )
    return (CLIPTextModelWithProjection if projected else CLIPTextModel)(config).eval()


def _t5(n_tokens: int, width: int = WIDTH):
    from transformers import T5Config, T5EncoderModel

    config = T5Config(
        vocab_size=n_tokens, d_model=width, d_kv=8, d_ff=2 * WIDTH, num_layers=2, num_heads=4, is_gated_act=True
    )
    return T5EncoderModel(config).eval()


def tiny_flux(folder: Path, seed: int = 0, *, guidance_embeds: bool = True) -> Path:
    """FluxPipeline with dynamic shifting, saved as safetensors below `folder`; guidance_embeds as in FLUX.1-dev."""
    with _seeded(seed):
        from diffusers import FlowMatchEulerDiscreteScheduler, FluxPipeline, FluxTransformer2DModel

        t5, clip = t5_tokenizer(), clip_tokenizer()
        transformer = FluxTransformer2DModel(
            in_channels=4 * LATENT_CHANNELS,
            num_layers=2,
            num_single_layers=2,
            attention_head_dim=16,
            num_attention_heads=2,
            joint_attention_dim=WIDTH,
            pooled_projection_dim=WIDTH,
            guidance_embeds=guidance_embeds,
            axes_dims_rope=(4, 6, 6),
        ).eval()
        FluxPipeline(
            scheduler=FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True),
            vae=_vae(scaling_factor=0.3611, shift_factor=0.1159, use_quant_conv=False, use_post_quant_conv=False),
            text_encoder=_clip(len(clip), projected=False),
            tokenizer=clip,
            text_encoder_2=_t5(len(t5)),
            tokenizer_2=t5,
            transformer=transformer,
        ).save_pretrained(folder, safe_serialization=True)
    return folder


def tiny_sd3(folder: Path, seed: int = 0) -> Path:
    """StableDiffusion3Pipeline with its three text encoders and shift 3."""
    with _seeded(seed):
        from diffusers import FlowMatchEulerDiscreteScheduler, SD3Transformer2DModel, StableDiffusion3Pipeline

        t5, clip = t5_tokenizer(), clip_tokenizer()
        transformer = SD3Transformer2DModel(
            sample_size=32,
            patch_size=2,
            in_channels=LATENT_CHANNELS,
            num_layers=2,
            attention_head_dim=8,
            num_attention_heads=4,
            joint_attention_dim=2 * WIDTH,
            caption_projection_dim=WIDTH,
            pooled_projection_dim=2 * WIDTH,
            out_channels=LATENT_CHANNELS,
            pos_embed_max_size=64,
        ).eval()
        StableDiffusion3Pipeline(
            scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0),
            vae=_vae(scaling_factor=1.5305, shift_factor=0.0609, use_quant_conv=False, use_post_quant_conv=False),
            text_encoder=_clip(len(clip), projected=True),
            tokenizer=clip,
            text_encoder_2=_clip(len(clip), projected=True),
            tokenizer_2=clip,
            text_encoder_3=_t5(len(t5), 2 * WIDTH),  # as wide as both CLIPs, which are padded up to it
            tokenizer_3=t5,
            transformer=transformer,
        ).save_pretrained(folder, safe_serialization=True)
    return folder


def _suspicious_checker():
    """A safety checker whose thresholds every picture exceeds, and its preprocessing."""
    from diffusers.pipelines.stable_diffusion import StableDiffusionSafetyChecker
    from transformers import CLIPConfig, CLIPImageProcessor

    sides = {"hidden_size": WIDTH, "intermediate_size": WIDTH, "num_hidden_layers": 1, "num_attention_heads": 4}
    config = CLIPConfig(
        text_config=dict(sides), vision_config={**sides, "image_size": 32, "patch_size": 16}, projection_dim=WIDTH
    )
    checker = StableDiffusionSafetyChecker(config).eval()
    checker.concept_embeds_weights.data.fill_(-2)  # below any cosine
    return checker, CLIPImageProcessor(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32})


def tiny_sd(folder: Path, seed: int = 0, *, refuses: bool = False) -> Path:
    """StableDiffusionPipeline (a UNet, DDIM), which AutoPipelineForText2Image loads.

    Without safety checker, or with one that refuses every picture.
    """
    with _seeded(seed):
        from diffusers import DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel

        clip = clip_tokenizer()
        unet = UNet2DConditionModel(
            block_out_channels=(8, 8),
            layers_per_block=1,
            sample_size=32,
            in_channels=LATENT_CHANNELS,
            out_channels=LATENT_CHANNELS,
            down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
            up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
            cross_attention_dim=WIDTH,
            attention_head_dim=2,
            norm_num_groups=2,
        ).eval()
        scheduler = DDIMScheduler(
            beta_start=0.00085,
            beta_end=0.012,
            beta_schedule="scaled_linear",
            clip_sample=False,
            set_alpha_to_one=False,
            steps_offset=1,
        )
        checker, processor = _suspicious_checker() if refuses else (None, None)
        StableDiffusionPipeline(
            vae=_vae(scaling_factor=0.18215),
            text_encoder=_clip(len(clip), projected=False),
            tokenizer=clip,
            unet=unet,
            scheduler=scheduler,
            safety_checker=checker,
            feature_extractor=processor,
            requires_safety_checker=refuses,
        ).save_pretrained(folder, safe_serialization=True)
    return folder
