"""doctor: what a recipe needs of this machine, a line each, and what to do about what is missing.

Nothing is fetched, started or written. Not covered: what a run finds only when it begins (a file of prompts that
cannot be read), speed, and whether a GPU stays free.
"""

from __future__ import annotations

import importlib
import json
import os
import platform
import shutil
import socket
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from promptforge import recipe as recipes
from promptforge.commands import doctor_models as needs
from promptforge.commands import terminal
from promptforge.commands.doctor_models import GIB, Finding
from promptforge.errors import PromptforgeError
from promptforge.faults import explain, nearest
from promptforge.flows.settings import home
from promptforge.recipe import Recipe
from promptforge.stages import parts
from promptforge.stages.coverage.demands import CAPTIONS, hopeless
from promptforge.stages.parts import Part

FLOOR = (3, 11)
ROOM_GIB = 2.0  # of a run of 1,200 pictures of 1024 px, tables and dataset


def show(recipe: str, settings: Sequence[str], *, as_json: bool) -> int:
    """Print every finding; 0 where nothing is missing, else 2."""
    found = []
    console = terminal.out()
    for finding in examine(recipe, settings):
        found.append(finding)
        if not as_json:
            state = "ok     " if finding.is_ok else "missing"
            line = f"{state}  {finding.name}: {finding.said}"
            console.print(terminal.safe(line if finding.is_ok else f"{line}; {finding.remedy}"), soft_wrap=True)
    lacking = [finding for finding in found if not finding.is_ok]
    if as_json:
        rows = [{**asdict(finding), "ok": finding.is_ok} for finding in found]
        console.print(json.dumps({"recipe": recipe, "ok": not lacking, "findings": rows}, indent=1), soft_wrap=True)
    elif lacking:
        console.print(f"{recipe}: {len(lacking)} of {len(found)} are not in order", style="bold")
    else:
        console.print(f"{recipe}: everything is here", style="bold")
    return 2 if lacking else 0


def examine(name: str, settings: Sequence[str]) -> Iterator[Finding]:
    """Findings in the order in which a person would mend them."""
    yield _python()
    try:
        recipe = recipes.validate(recipes.override(recipes.read(name), settings), name)
    except PromptforgeError as exc:
        yield from _said(exc)
        yield from needs.check_packages(())
        yield from _machine()
        return
    faults: list[Finding] = []
    teacher, others = find_parts(recipe, name, faults)
    if not faults:
        faults += _resolved(recipe, name)
    yield from faults or [Finding("recipe", f"{name} is valid")]
    yield from _captions(recipe)
    everything = [*([teacher] if teacher else []), *others]
    packages = [package for part in everything for package in needs.packages_of(part)]
    if recipe.response is not None:
        packages += ["torch", "diffusers"]
    yield from needs.check_packages(packages)
    yield from needs.check_gpu(teacher, others)
    yield from needs.check_models(model for part in everything for model in needs.models_of(part))
    if teacher is not None and needs.short(teacher) == "teachers.imported":
        yield _pictures(str(teacher.params.model_dump()["path"]))
    for part in everything:
        if needs.reads_with_easyocr(part):
            yield needs.check_easyocr(part)
        if part.module.__name__.endswith(".language.server"):
            yield needs.check_server(part)
        yield from needs.check_itself(part)
    yield from _machine()


def _said(exc: PromptforgeError) -> Iterator[Finding]:
    for line in str(exc).splitlines():
        said, _, remedy = line.partition("; ")
        yield Finding("recipe", said, remedy or "correct it, or see the recipes that come with promptforge")


def find_parts(recipe: Recipe, where: str, faults: list[Finding]) -> tuple[Part | None, list[Part]]:
    """The teacher and the other components that could need something, each on its own: one that is wrong hides none."""

    def find(package: str, kind: str, params: Mapping[str, Any], path: str, name: str) -> Part | None:
        if kind not in parts.known(package):
            near = nearest(kind, parts.known(package))
            faults.append(Finding("recipe", f"{where}: {path}: no module {kind!r} in {package}", near.lstrip("; ")))
            return None
        module = importlib.import_module(f"promptforge.{package}.{kind}")
        try:
            return Part(kind, module, module.Params.model_validate(dict(params)), name=name)
        except ValidationError as exc:
            for line in explain(exc, module.Params, where, path).splitlines():
                said, _, remedy = line.partition("; ")
                faults.append(Finding("recipe", said, remedy or "correct it with --set, or in a recipe of your own"))
            return None

    teacher = find("teachers", recipe.regime.teacher, recipe.regime.params, "regime", recipe.regime.teacher)
    others = [
        find("models.language", spec.kind, spec.params, f"llm.{name}", name) for name, spec in recipe.llm.items()
    ] + [
        find("scorers", spec.kind or name, spec.params, f"scorers.{name}", name)
        for name, spec in recipe.scorers.items()
    ]
    return teacher, [part for part in others if part is not None]


def _resolved(recipe: Recipe, where: str) -> list[Finding]:
    """What is wrong between components: a licence to accept, a judge of two roles, a gate without a metric."""
    try:
        parts.resolve(recipe, where)
    except PromptforgeError as exc:
        return list(_said(exc))
    return []


def _captions(recipe: Recipe) -> Iterator[Finding]:
    """Prompts that a run must be given: no lack of this machine."""
    try:
        found = hopeless(recipe)
    except ValidationError:
        return  # a wrong [coverage] is told among the recipe's faults
    if found:
        yield Finding("prompts", f"a run wants natural captions as well: promptforge run {recipe.name} {CAPTIONS}")


def _python() -> Finding:
    seen = f"Python {platform.python_version()}"
    if sys.version_info < FLOOR:
        return Finding("Python", seen, "make setup PYTHON=/path/to/python3.11 (or newer)")
    return Finding("Python", seen)


def _machine() -> Iterator[Finding]:
    free = shutil.disk_usage(Path.cwd()).free / GIB
    remedy = "make room, or give --out on a larger disk" if free < ROOM_GIB else None
    yield Finding("disk", f"{free:,.0f} GiB free here, for runs", remedy)
    yield _prefect()
    yield _port()


def _pictures(path: str) -> Finding:
    if Path(path).expanduser().exists():
        return Finding("pictures", f"{path} is there")
    return Finding("pictures", f"{path}: no such file or folder", "promptforge import-images PATH --licence TERMS")


def _prefect() -> Finding:
    if address := os.environ.get("PREFECT_API_URL"):
        try:
            with urllib.request.urlopen(f"{address}/health", timeout=needs.ANSWER_S) as answer:  # the person's own
                answer.read(100)
        except (OSError, ValueError, urllib.error.URLError) as exc:
            return Finding(
                "Prefect",
                f"no server answers at PREFECT_API_URL ({getattr(exc, 'reason', exc)})",
                "start one with `promptforge serve`, or unset it for a temporary one",
            )
        return Finding("Prefect", f"the server at {address} answers")
    folder = home(Path("runs"))
    there = folder
    while not there.exists() and there != there.parent:
        there = there.parent
    if not os.access(there, os.W_OK | os.X_OK) or not there.is_dir():
        return Finding("Prefect", f"{folder} cannot be written to", "set PREFECT_HOME to a folder of yours")
    return Finding("Prefect", f"database and logs in {folder}")


def _port() -> Finding:
    try:
        with socket.create_server(("127.0.0.1", 0)):
            return Finding("port", "a port on 127.0.0.1 can be opened")
    except OSError as exc:
        return Finding("port", f"none can be opened on 127.0.0.1 ({exc.strerror})", "allow loopback in this sandbox")
