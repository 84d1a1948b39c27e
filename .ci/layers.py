"""Holds the layout that DESIGN and docs promise; standard library only, so it runs before anything is installed.

Reads the source with ast: imports point down the levels, packages that stand side by side stay apart, components
never import each other, nothing imports in a circle, heavy libraries stay behind their adapters, files stay short
and carry a name of the domain. Imports inside functions and under TYPE_CHECKING count like any other.
Not covered: modules named by a string that is put together at run time.

    python .ci/layers.py            # prints one line a fault, exits 1 where there is any
"""

from __future__ import annotations

import ast
import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

PACKAGE = "promptforge"
MAX_LINES = 400

#: Lowest first. A module may import its own level and those below. What is in no level is a fault: give it one.
LEVELS: tuple[frozenset[str], ...] = (
    frozenset({"errors", "records", "protocols"}),
    frozenset(
        {
            "faults",
            "files",
            "lexicon",
            "packaged",
            "policy",
            "questions",
            "quotes",
            "scenes",
            "targets",
            "texts",
            "wording",
        }
    ),
    frozenset({"catalog", "lock", "recipe", "schema", "store"}),
    frozenset({"models"}),
    frozenset({"filters", "scorers", "sources", "teachers"}),
    frozenset({"distill", "export", "reader", "report", "stages"}),
    frozenset({"cli", "commands", "flows", "view"}),
)

#: Packages of components: they never import each other, and neither do the components inside one.
APART = frozenset({"filters", "scorers", "sources", "teachers"})

#: Who may import a heavy library: a module named here, or one inside a package named here.
HEAVY: Mapping[str, tuple[str, ...]] = {
    "dask": ("flows",),
    "diffusers": ("models", "teachers.diffusers", "distill"),
    "easyocr": ("models",),
    "onnxruntime": ("models",),
    "open_clip": ("models",),
    "openai": ("models",),
    "prefect": ("flows",),
    "prefect_dask": ("flows",),
    "prefect_ray": ("flows",),
    "rapidocr": ("models",),
    "ray": ("flows",),
    "torch": ("models", "teachers.diffusers", "distill"),
    "transformers": ("models", "teachers.diffusers", "distill"),
    "vllm": ("models",),
}

#: Names that say nothing about what is inside.
EMPTY_NAMES = frozenset(
    {"base", "common", "helper", "helpers", "manager", "managers", "misc", "util", "utils"},
)

LEVEL_OF = {name: level for level, names in enumerate(LEVELS) for name in names}


def files_below(folder: Path) -> Iterator[Path]:
    """Python files in sorted order, through links too: schemas/ and flows/ are links inside the package."""
    for where, folders, names in os.walk(folder, followlinks=True):
        folders[:] = sorted(name for name in folders if not name.startswith((".", "__pycache__")))
        yield from (Path(where) / name for name in sorted(names) if name.endswith(".py"))


def imported(tree: ast.AST, package: str) -> Iterator[tuple[int, str]]:
    """Line and dotted name of everything imported; for `from a import b` that is a.b. `package` resolves dots."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            start = node.module or ""
            if node.level:
                parents = package.split(".")
                start = ".".join([*parents[: len(parents) - node.level + 1], *filter(None, [node.module])])
            yield from ((node.lineno, f"{start}.{alias.name}") for alias in node.names)
        elif isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
            called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if called in {"import_module", "__import__"} and isinstance(node.args[0].value, str):
                yield node.lineno, node.args[0].value


def is_within(module: str, owner: str) -> bool:
    """Whether `module` is `owner` or lies inside it; both dotted, without the package's own name."""
    return module == owner or module.startswith(f"{owner}.")


def is_component(module: str, packages: frozenset[str]) -> bool:
    """Whether this is one component: a plain module directly in a package of components."""
    parts = module.split(".")
    return len(parts) == 2 and parts[0] in APART and module not in packages


def fault_of(importer: str, imports: str, packages: frozenset[str]) -> str | None:
    """What is wrong with one import inside the package, or None."""
    here, there = importer.partition(".")[0], imports.partition(".")[0]
    if here not in LEVEL_OF or there not in LEVEL_OF:
        return None  # said once for the module itself
    if LEVEL_OF[there] > LEVEL_OF[here]:
        return f"{here} may not import {there}, which is above it"
    if here != there and here in APART and there in APART:
        return f"{here} and {there} stand side by side and may not import each other"
    if here == there and importer != imports and is_component(imports, packages):
        return f"a component never sees another: move what is shared into a package inside {here}/"
    return None


def circle_in(graph: Mapping[str, set[str]]) -> list[str] | None:
    """Modules of one import circle, first and last alike, or None."""
    done: set[str] = set()

    def visit(module: str, path: list[str]) -> list[str] | None:
        if module in path:
            return [*path[path.index(module) :], module]
        if module in done:
            return None
        for other in sorted(graph.get(module, ())):
            if found := visit(other, [*path, module]):
                return found
        done.add(module)
        return None

    return next(filter(None, (visit(module, []) for module in sorted(graph))), None)


def shape_faults(folder: Path, shown_from: Path) -> list[str]:
    """Files below `folder` that are too long or carry an empty name."""
    faults = []
    for path in files_below(folder):
        shown = path.relative_to(shown_from).as_posix()
        n_lines = len(path.read_text(encoding="utf-8").splitlines())
        if n_lines > MAX_LINES:
            faults.append(f"{shown}: {n_lines} lines, at most {MAX_LINES} are allowed; split it")
        if path.stem in EMPTY_NAMES or path.parent.name in EMPTY_NAMES:
            faults.append(f"{shown}: name it after what is inside; {sorted(EMPTY_NAMES)} are not allowed")
    return faults


def modules_of(package: Path) -> tuple[dict[str, Path], frozenset[str]]:
    """Dotted names below the package folder with their files, and which of them are packages."""
    modules, packages = {}, set()
    for path in files_below(package):
        parts = path.relative_to(package).with_suffix("").parts
        if parts[-1] == "__init__":
            parts = parts[:-1]
            packages.add(".".join(parts))
        modules[".".join(parts)] = path
    return modules, frozenset(packages)


def heavy_fault(module: str, imports: str) -> str | None:
    """What is wrong with importing a library here, or None."""
    library = imports.partition(".")[0]
    if any(is_within(module, owner) for owner in HEAVY.get(library, (module,))):
        return None
    return f"{library} belongs in {' or '.join(HEAVY[library])} alone"


def import_faults(package: Path) -> list[str]:
    """Imports below the package folder that break the rules, one line each, with file and line number."""
    modules, packages = modules_of(package)
    faults = []
    graph: dict[str, set[str]] = {module: set() for module in modules}
    for module, path in modules.items():
        shown = path.relative_to(package.parent).as_posix()
        top = module.partition(".")[0]
        if module and top not in LEVEL_OF:
            faults.append(f"{shown}: {top} has no level; add it to LEVELS in .ci/layers.py")
        inside = module if module in packages else module.rpartition(".")[0]
        where = ".".join(filter(None, [PACKAGE, inside]))
        for line, name in imported(ast.parse(path.read_text(encoding="utf-8"), str(path)), where):
            fault = heavy_fault(module, name)
            target = name.partition(".")[2] if is_within(name, PACKAGE) else ""
            while target and target not in modules:  # promptforge.records.Prompt is in promptforge.records
                target = target.rpartition(".")[0]
            if module and target:
                fault = fault_of(module, target, packages)
                graph[module] |= {target} - {module}
            if fault:
                faults.append(f"{shown}:{line}: {fault}")
    if circle := circle_in(graph):
        faults.append(f"{PACKAGE}/: imports go in a circle: {' -> '.join(circle)}")
    return faults


def violations(root: Path) -> list[str]:
    """Every fault in a checkout, sorted; empty when the layout holds."""
    faults = import_faults(root / "src" / PACKAGE)
    for name in ("src", "tests", "benchmarks", ".ci"):
        faults += shape_faults(root / name, root)
    return sorted(faults)


def main() -> int:
    """Print what is wrong; 1 where anything is."""
    faults = violations(Path(__file__).resolve().parent.parent)
    sys.stdout.write("".join(f"{fault}\n" for fault in faults))
    sys.stdout.write(f"layers: {len(faults)} faults\n" if faults else "layers: as laid out\n")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
