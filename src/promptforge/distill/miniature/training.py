"""Trains the miniature pipeline: pictures, autoencoder, then text encoder and transformer together, by flow matching.

    python -m promptforge.distill.miniature FOLDER [--flow-steps 6000 ...]      what `make mini-teacher` calls

Two hours at most on two processors. Each part is saved every few minutes under FOLDER/work, and an interrupted call
goes on from there; the numbers differ in last bits between machines and thread counts, so the weights are data of this
package and no build product. Flow matching as in Stable Diffusion 3 (Esser et al. 2024): x = (1 - s) x0 + s noise with
s from a logit-normal, target noise - x0. Hidden matrices by Muon (Jordan et al. 2024), all else by AdamW.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from promptforge.distill.miniature import parts, pictures
from promptforge.files import put
from promptforge.models.torch_setup import load_torch

Tell = Callable[[str], None]
#: Steps between two saves.
SAVE_EVERY = 250


@dataclass(frozen=True)
class Effort:
    """How much is done.

    The weights of the package took as many steps; their number was changed on the way (10,000, from step 3,500 on
    8,000, from 7,500 on 12,000), and the falling rate with it.
    """

    n_pictures: int = 20_000
    autoencoder_steps: int = 2500
    autoencoder_batch: int = 16
    flow_steps: int = 12_000
    flow_batch: int = 32
    seed: int = 0
    workers: int = 2  # processes that draw; no more of the result depends on it


def train(folder: Path, effort: Effort, tell: Tell) -> Path:
    """Everything that is not done yet; the pipeline's folder, weights in bfloat16."""
    work = folder / "work"
    work.mkdir(parents=True, exist_ok=True)
    seen = _pictures(work, effort, tell)
    vae = _autoencoder(work, seen, effort, tell)
    latents = _latents(vae, seen)
    encoder, net = _flow(work, seen, latents, effort, tell)
    return save(folder / "pipeline", vae, encoder, net)


def save(folder: Path, vae: Any, encoder: Any, net: Any) -> Path:
    """The pipeline as diffusers writes it, weights in bfloat16."""
    torch = load_torch()
    from diffusers import FluxPipeline

    tokens, clip_tokens = parts.tokenizer(), parts.clip_tokenizer()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        clip = parts.clip(len(clip_tokens))
    pipe = FluxPipeline(
        scheduler=parts.scheduler(),
        vae=vae,
        text_encoder=clip,
        tokenizer=clip_tokens,
        text_encoder_2=encoder,
        tokenizer_2=tokens,
        transformer=net,
    )
    pipe.to(torch.bfloat16).save_pretrained(folder, safe_serialization=True)
    return folder


def _pictures(work: Path, effort: Effort, tell: Tell) -> pictures.Pictures:
    pixels, words = work / "pictures.npy", work / "pictures.json"
    if not words.is_file():
        tell(f"drawing {effort.n_pictures:,} pictures")
        made = pictures.make(effort.n_pictures, effort.seed, effort.workers)
        np.save(pixels, made.pixels)
        put(words, json.dumps([made.texts, made.axes]).encode())
    texts, axes = json.loads(words.read_text("utf-8"))
    return pictures.Pictures(tuple(texts), tuple(axes), np.load(pixels))


class _Training:
    """Modules, optimisers, a falling rate and an average, saved and taken up again under one name."""

    def __init__(self, path: Path, modules: dict[str, Any], optimizers: list[Any], n_steps: int, keep: float) -> None:
        torch = load_torch()
        self.modules, self._optimizers = modules, optimizers
        self._path, self._n_steps, self._keep = path, n_steps, keep
        self._rates = [group["lr"] for each in optimizers for group in each.param_groups]
        self.step = 0
        self._average = {name: {k: v.clone() for k, v in m.state_dict().items()} for name, m in modules.items()}
        if path.is_file():
            state = torch.load(path, weights_only=True)
            self.step, self._average = state["step"], state["average"]
            for name, module in modules.items():
                module.load_state_dict(state["modules"][name])
            for each, saved in zip(optimizers, state["optimizers"], strict=True):
                each.load_state_dict(saved)

    def run(self, loss_of: Callable[[Any], Any], seed: int, tell: Tell) -> None:
        """The remaining steps; `loss_of` is given a generator that the step's number seeds."""
        torch = load_torch()
        weights = [each for module in self.modules.values() for each in module.parameters()]
        sums: list[float] = []
        while self.step < self._n_steps:
            self._set_rates()
            loss = loss_of(torch.Generator().manual_seed(seed * 10_000_019 + self.step))
            loss.backward()
            torch.nn.utils.clip_grad_norm_(weights, 1.0)
            for each in self._optimizers:
                each.step()
                each.zero_grad()
            self._follow()
            self.step += 1
            sums.append(float(loss.detach()))
            if self.step % SAVE_EVERY == 0 or self.step == self._n_steps:
                tell(f"{self._path.stem}: step {self.step:,} of {self._n_steps:,}, loss {np.mean(sums):.4f}")
                sums.clear()
                self._save()

    def finish(self) -> None:
        """Put the average in the modules' place."""
        for name, module in self.modules.items():
            module.load_state_dict(self._average[name])
            module.eval().requires_grad_(False)

    def _set_rates(self) -> None:
        share = min(1.0, (self.step + 1) / 200) * 0.5 * (1 + math.cos(math.pi * self.step / self._n_steps))
        groups = [group for each in self._optimizers for group in each.param_groups]
        for group, rate in zip(groups, self._rates, strict=True):
            group["lr"] = rate * max(share, 0.01)

    def _follow(self) -> None:
        torch = load_torch()
        keep = min(self._keep, (1 + self.step) / (10 + self.step))
        with torch.no_grad():
            for name, module in self.modules.items():
                for key, value in module.state_dict().items():
                    self._average[name][key].lerp_(value, 1 - keep)

    def _save(self) -> None:
        torch = load_torch()
        state = {
            "step": self.step,
            "average": self._average,
            "modules": {name: module.state_dict() for name, module in self.modules.items()},
            "optimizers": [each.state_dict() for each in self._optimizers],
        }
        beside = self._path.with_suffix(".new")
        torch.save(state, beside)
        beside.replace(self._path)


def _autoencoder(work: Path, seen: pictures.Pictures, effort: Effort, tell: Tell) -> Any:
    """L1 and squares to the picture, with a light pull of the latents to a unit normal, as latent diffusion has it."""
    torch = load_torch()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(effort.seed)
        vae = parts.autoencoder()
    optimizer = torch.optim.AdamW(vae.parameters(), lr=1e-3, betas=(0.9, 0.99), weight_decay=1e-4)
    training = _Training(work / "autoencoder.pt", {"vae": vae}, [optimizer], effort.autoencoder_steps, 0.995)

    def loss_of(generator: Any) -> Any:
        chosen = torch.randint(len(seen.texts), (effort.autoencoder_batch,), generator=generator).numpy()
        images = _tensor(seen.pixels[chosen])
        with torch.autocast("cpu", dtype=torch.bfloat16):
            posterior = vae.encode(images).latent_dist
            noise = torch.randn(posterior.mean.shape, generator=generator)
            found = vae.decode(posterior.mean + posterior.std * noise).sample
        spread = 0.5 * (posterior.mean.float().square() + posterior.var.float() - 1 - posterior.logvar.float())
        off = found.float() - images
        return off.abs().mean() + off.square().mean() + 1e-4 * spread.mean()

    training.run(loss_of, effort.seed, tell)
    training.finish()
    latents = _encode(vae, seen.pixels[:2000])
    vae.register_to_config(shift_factor=float(latents.mean()), scaling_factor=float(1 / latents.std()))
    return vae


def _tensor(pixels: Any) -> Any:
    torch = load_torch()
    found = torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 127.5 - 1
    return found.contiguous()


def _encode(vae: Any, pixels: Any) -> Any:
    torch = load_torch()
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        found = [vae.encode(_tensor(pixels[at : at + 100])).latent_dist.mean for at in range(0, len(pixels), 100)]
    return torch.cat(found).float()


def _latents(vae: Any, seen: pictures.Pictures) -> Any:
    """Latents, n x 16 x 64: shifted, scaled and packed as the pipeline has them."""
    from diffusers import FluxPipeline

    found = (_encode(vae, seen.pixels) - vae.config.shift_factor) * vae.config.scaling_factor
    return FluxPipeline._pack_latents(found, *found.shape)


def _flow(work: Path, seen: pictures.Pictures, latents: Any, effort: Effort, tell: Tell) -> tuple[Any, Any]:
    torch = load_torch()
    from diffusers import FluxPipeline

    tokens = parts.tokenizer()
    ids = tokens(
        list(seen.texts), padding="max_length", max_length=parts.LENGTH, truncation=True, return_tensors="pt"
    ).input_ids
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(effort.seed + 1)
        encoder, net = parts.text_encoder(len(tokens)), parts.transformer()
    side = parts.SIZE // 16
    image_ids = FluxPipeline._prepare_latent_image_ids(1, side, side, "cpu", torch.float32)
    text_ids, pooled = torch.zeros(parts.LENGTH, 3), torch.zeros(effort.flow_batch, 8)
    modules = {"encoder": encoder, "net": net}
    training = _Training(work / "flow.pt", modules, _optimizers(modules), effort.flow_steps, 0.999)

    def loss_of(generator: Any) -> Any:
        chosen = torch.randint(len(ids), (effort.flow_batch,), generator=generator)
        clean = latents[chosen]
        noise = torch.randn(clean.shape, generator=generator)
        share = torch.sigmoid(torch.randn(len(chosen), generator=generator))
        at = share[:, None, None]
        with torch.autocast("cpu", dtype=torch.bfloat16):
            found = net(
                hidden_states=(1 - at) * clean + at * noise,
                timestep=share,
                pooled_projections=pooled,
                encoder_hidden_states=encoder(ids[chosen]).last_hidden_state,
                txt_ids=text_ids,
                img_ids=image_ids,
                return_dict=False,
            )[0]
        return (found.float() - (noise - clean)).square().mean()

    training.run(loss_of, effort.seed, tell)
    training.finish()
    return encoder, net


def _optimizers(modules: dict[str, Any]) -> list[Any]:
    """Muon for matrices inside blocks, AdamW for embeddings, first and last layers, biases and norms."""
    torch = load_torch()
    hidden: list[Any] = []
    rest: list[Any] = []
    for module in modules.values():
        for name, each in module.named_parameters():
            (hidden if each.ndim == 2 and "block" in name and "relative" not in name else rest).append(each)
    return [
        torch.optim.Muon(hidden, lr=1e-3, weight_decay=0.01, momentum=0.95, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW(rest, lr=1e-3, betas=(0.9, 0.99), weight_decay=0.0),
    ]
