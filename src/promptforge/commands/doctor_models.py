"""What the components of a recipe need: packages, a GPU, models' files, a server. Looks, and changes nothing.

What a component wants is read from its parameters; no weights are loaded but those of a scorer that tests itself.
"""

from __future__ import annotations

import json
import shutil
import urllib.error
import urllib.request
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement

from promptforge.errors import EnvironmentFault, PromptforgeError
from promptforge.models import licences, weights
from promptforge.models.diffusion.settings import FILES
from promptforge.models.language import server
from promptforge.stages.parts import Part

GIB = 1 << 30
ANSWER_S = 3.0  # a server that lists its models takes milliseconds
ON_CPU_GIB = 2.0  # weights that a CPU bears; FLUX.1 has 31.4

#: GiB of GPU memory for FLUX.1 at 1024 px by memory mode, as models/diffusion/memory.py works them out.
FLUX_GIB = {"auto": 12, "blocks_to_cpu": 12, "model_offload": 31, "encoders_to_cpu": 38, "resident": 42}

#: Hub ids whose files need a token and a consent on the model's page.
GATED = ("black-forest-labs/", "stabilityai/stable-diffusion-3")

_PIPELINE = ("torch", "diffusers", "transformers", "accelerate", "safetensors", "sentencepiece", "protobuf")
_PACKAGES = {
    "teachers.diffusers": _PIPELINE,
    "scorers.detector": ("torch", "transformers", "safetensors"),
    "models.language.server": ("openai",),
    "models.language.vllm": ("vllm",),
}
_CLIP_FILES = ("open_clip_*.safetensors", "*.json", "*.txt", "*.model")
_HEAD_FILES = ("*.safetensors", "*.json")


@dataclass(frozen=True, slots=True)
class Finding:
    """One line: what was looked at, what was seen, and what to do where it is not in order."""

    name: str
    said: str
    remedy: str | None = None

    @property
    def is_ok(self) -> bool:
        """Nothing is to be done."""
        return self.remedy is None


@dataclass(frozen=True, slots=True)
class Model:
    """Files that a component reads. `gib` is their size, where it is known."""

    source: str
    revision: str | None
    needs: tuple[str, ...] = weights.SAFE_FILES
    gib: float = 0.0
    licence: str | None = None

    @property
    def is_gated(self) -> bool:
        """Whether the hub asks who fetches it."""
        return not weights.is_local(self.source) and self.source.startswith(GATED)


def short(part: Part) -> str:
    """scorers.aesthetic, teachers.diffusers."""
    return part.module.__name__.removeprefix("promptforge.")


def packages_of(part: Part) -> tuple[str, ...]:
    """Packages outside the core that it imports."""
    found = list(_PACKAGES.get(short(part), ()))
    if _tower(part) is not None:
        found += ["torch", "torchvision", "open_clip_torch"]
    if reads_with_easyocr(part):
        found += ["torch", "easyocr"]
    return tuple(found)


def _tower(part: Part) -> Any:
    """The CLIP tower that a scorer looks through; likeness needs one for embeddings alone."""
    return getattr(part.params, "tower_spec", None) if getattr(part.params, "embedding", True) else None


def reads_with_easyocr(part: Part) -> bool:
    """Whether one of its readers is EasyOCR."""
    return "easyocr" in (getattr(part.params, "reader", None), getattr(part.params, "second", None))


def models_of(part: Part) -> list[Model]:
    """Models in our sense: safetensors of a hub repository or a path."""
    params: Any = part.params
    name = short(part)
    if name == "teachers.diffusers":
        known = licences.known_model(params.model)
        licence = known.licence.name if known else params.licence
        return [Model(params.model, params.revision, FILES, known.gib if known else 0.0, licence)]
    found = []
    if (tower := _tower(part)) is not None:
        found.append(Model(tower.source, tower.revision, _CLIP_FILES, 1.6))
    if hasattr(params, "head_source"):
        source, revision = params.head_source
        found.append(Model(source, revision, _HEAD_FILES, 0.01))
    elif hasattr(params, "head"):
        found.append(Model(params.head, params.head_revision, _HEAD_FILES, 0.01))
    if name == "scorers.detector":
        found.append(Model(params.model, params.revision, gib=0.7, licence="apache-2.0"))
    if name == "models.language.vllm":
        found.append(Model(params.model, params.revision))
    return found


def check_packages(names: Iterable[str]) -> Iterator[Finding]:
    """A finding for the core, and one for each extra that holds some of these packages."""
    try:
        wanted = [Requirement(line) for line in requires("promptforge") or ()]
    except PackageNotFoundError:
        yield Finding("packages", "promptforge itself is not installed", "run: make setup")
        return
    core = [each for each in wanted if each.marker is None or "extra" not in str(each.marker)]
    yield _packages("the core", core, "make setup")
    asked = {name.lower().replace("_", "-") for name in names}
    for extra, remedy in (
        ("models", "make setup-models"),
        ("vllm", "pip install vllm in an environment of its own; or run it as a server (kind = 'server')"),
    ):
        members = [
            each
            for each in wanted
            if each.marker and each.marker.evaluate({"extra": extra}) and not each.marker.evaluate({"extra": ""})
        ]
        chosen = [each for each in members if each.name.lower().replace("_", "-") in asked]
        if chosen:
            asked -= {each.name.lower().replace("_", "-") for each in chosen}
            yield _packages(f"the extra {extra}", chosen, remedy)
    if asked:  # installed before the extras had them
        yield _packages("others", [Requirement(name) for name in sorted(asked)], "make setup-models")


def _packages(what: str, wanted: Sequence[Requirement], remedy: str) -> Finding:
    wrong = []
    for each in wanted:
        try:
            seen = version(each.name)
        except PackageNotFoundError:
            wrong.append(f"{each.name} is not installed")
            continue
        if not each.specifier.contains(seen, prereleases=True):
            wrong.append(f"{each.name} is {seen}, expected {each.specifier}")
    if wrong:
        return Finding("packages", f"{what}: {', '.join(wrong)}", remedy)
    return Finding("packages", f"{what}: all {len(wanted)} that are needed")


def check_gpu(teacher: Part | None, others: Sequence[Part]) -> Iterator[Finding]:
    """A GPU with enough memory, where something wants one."""
    drawn = teacher is not None and short(teacher) == "teachers.diffusers"
    if not drawn and not any("torch" in packages_of(part) for part in others):
        yield Finding("GPU", "none is needed")
        return
    try:
        from promptforge.models.torch_setup import load_torch

        torch = load_torch()
    except PromptforgeError as exc:
        yield Finding("GPU", "cannot be looked for without torch", str(exc).partition("; ")[2] or str(exc))
        return
    size = max((_gib(model) for model in models_of(teacher)), default=0.0) if drawn and teacher else 0.0
    if not torch.cuda.is_available():
        if size <= ON_CPU_GIB:
            yield Finding("GPU", "none; the CPU bears these models, slowly")
        else:
            build = "; this torch is built for the CPU" if torch.version.cuda is None else ""
            yield Finding(
                "GPU",
                f"none is seen by torch {torch.__version__}{build}, and the teacher has {size:.0f} GiB of weights",
                "use a machine with a GPU (24 GB and more); here: recipe mini, or import-images for what was"
                " rendered elsewhere",
            )
        return
    least = FLUX_GIB[teacher.params.memory] if drawn and teacher and _is_flux(teacher) else 0  # type: ignore[attr-defined]
    for number in range(torch.cuda.device_count()):
        found = torch.cuda.get_device_properties(number)
        has = found.total_memory / GIB
        remedy = None
        if has < least:
            remedy = (
                f"{least} GiB are needed in this memory mode; set regime.memory to a smaller one, or take another GPU"
            )
        yield Finding("GPU", f"{found.name}, {has:.0f} GiB", remedy)


def _is_flux(teacher: Part) -> bool:
    params: Any = teacher.params
    return bool(params.pipeline == "flux" and _gib(models_of(teacher)[0]) > 20)


def _gib(model: Model) -> float:
    """Known size, or that of the local weights."""
    path = weights.path_of(model.source)
    if model.gib or not weights.is_local(model.source) or not path.exists():
        return model.gib
    return sum(file.stat().st_size for file in weights.files_of(path, ("*.safetensors",))) / GIB


def check_models(models: Iterable[Model]) -> Iterator[Finding]:
    """Each model's files; then, where some are missing, the disk for them and the token that they want."""
    missing = []
    for model in dict.fromkeys(models):
        terms = f", licence {model.licence}" if model.licence else ""
        absent = weights.missing_here(model.source, model.revision or None, model.needs)
        if not absent:
            yield Finding("model", f"{model.source}{terms}")
            continue
        if weights.is_local(model.source):
            lost = "" if Path(absent[0]) == weights.path_of(model.source) else f"{absent[0]} in "
            yield Finding("model", f"{lost}{model.source} is not there", "give the path of a whole model, or a hub id")
            continue
        missing.append(model)
        yield _fetch(model, absent, terms)
    if missing:
        yield _disk(missing)
        gated = [model.source for model in missing if model.is_gated]
        if gated:
            yield _token(gated)


def _fetch(model: Model, absent: Sequence[str], terms: str) -> Finding:
    size = f", {model.gib:g} GiB" if model.gib else ""
    seen = "not on this machine" if absent == ["everything"] else f"half fetched, {absent[0]} is missing"
    others = [commit for commit in weights.revisions_here(model.source) if commit != model.revision]
    held = f" (here is revision {others[0]}; set it if you want that one)" if others else ""
    return Finding(
        "model",
        f"{model.source} at {str(model.revision)[:12]}: {seen}{size}{terms}{held}",
        f"{weights.command(model.source, model.revision, model.needs)}, or let the run fetch it",
    )


def _disk(missing: Sequence[Model]) -> Finding:
    from huggingface_hub.constants import HF_HUB_CACHE

    where = Path(HF_HUB_CACHE)
    while not where.exists():
        where = where.parent
    free, needed = shutil.disk_usage(where).free / GIB, sum(model.gib for model in missing)
    said = f"{free:,.0f} GiB free for models in {HF_HUB_CACHE}, {needed:,.0f} GiB to fetch"
    return Finding("disk", said, "make room, or set HF_HOME to a larger disk" if free < needed * 1.05 else None)


def _token(gated: Sequence[str]) -> Finding:
    from huggingface_hub import get_token

    which = ", ".join(gated)
    if get_token():
        return Finding("token", f"a hub token is set; {which} also need the consent on the model's page")
    return Finding(
        "token",
        f"none is set, and {which} cannot be fetched without",
        f"accept the licence on the model's page, then export {weights.TOKEN_VARIABLE}=<your token>, or: hf auth login",
    )


def check_easyocr(part: Part) -> Finding:
    """EasyOCR's own files, by the hashes of its release; those for English where languages follow the prompts."""
    settings: Any = getattr(part.params, "easyocr")  # noqa: B009
    try:
        from promptforge.models import easyocr_files

        auto = settings.languages == "auto"
        languages = easyocr_files.ENGLISH.languages if auto else settings.languages
        found = easyocr_files.verified(settings.folder, languages)
    except PromptforgeError as exc:
        said, _, remedy = str(exc).partition("; ")
        return Finding("EasyOCR", said, remedy or said)
    more = "; prompts in other letters need the files of their languages" if auto else ""
    return Finding("EasyOCR", f"{', '.join(sorted(found))} as released, for {' '.join(languages)}{more}")


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any, **__: Any) -> None:
        """A key is for the address in the recipe alone."""


def check_server(part: Part) -> Finding:
    """Whether the OpenAI-compatible server answers, and has the model."""
    params: Any = part.params
    name = f"server {part.name}"
    try:
        key = server.key_of(params)
    except EnvironmentFault as exc:
        said, _, remedy = str(exc).partition("; ")
        return Finding(name, said, remedy)
    headers = {} if key is None else {"Authorization": f"Bearer {key}"}
    start = f"start it, e.g. vllm serve {params.model}, or correct llm.{part.name}.base_url"
    direct = [urllib.request.ProxyHandler({})] if server.is_loopback(params) else []
    opener = urllib.request.build_opener(_NoRedirect(), *direct)
    try:
        with opener.open(
            urllib.request.Request(f"{params.base_url}/models", headers=headers), timeout=ANSWER_S
        ) as reply:
            body = json.loads(reply.read(1 << 20))
        served = sorted(str(item["id"]) for item in body["data"])
    except urllib.error.HTTPError as exc:
        return Finding(
            name, f"{params.base_url}/models answers {exc.code}", "check base_url, and the key where it asks one"
        )
    except (OSError, ValueError, RecursionError) as exc:
        reason = getattr(exc, "reason", exc)
        return Finding(name, f"{params.base_url} does not answer as a server of models ({reason})", start)
    except (KeyError, TypeError):
        return Finding(name, f"{params.base_url}/models is no list of models", start)
    if params.model not in served:
        return Finding(name, f"{params.base_url} serves {', '.join(served) or 'nothing'}, not {params.model}", start)
    return Finding(name, f"{params.base_url} serves {params.model}")


def check_itself(part: Part) -> Iterator[Finding]:
    """The scorer's own test, where it has one and everything it needs is here."""
    test = getattr(part.module, "self_test", None)
    if test is None:
        return
    models = models_of(part)
    if any(weights.missing_here(model.source, model.revision or None, model.needs) for model in models):
        return
    name = f"self-test {part.name}"
    try:
        faults = test(part.params)
    except PromptforgeError as exc:
        said, _, remedy = str(exc).partition("; ")
        yield Finding(name, said, remedy or "see above")
        return
    except Exception as exc:  # whatever a library raises for what it cannot load is a finding
        yield Finding(name, f"{type(exc).__name__}: {exc}", "fetch the model anew; --debug shows where")
        return
    yield from (Finding(name, fault, "fetch the model anew, or name the right architecture") for fault in faults)
    if not faults:
        yield Finding(name, "passed")
