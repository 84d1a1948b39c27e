"""What is installed: the wheel carries its data, and the locks name everything by hash and nothing by address."""

import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

REPOSITORY = Path(__file__).resolve().parent.parent
LOCKS = ("build", "core", "dev", "fast", "models", "uv", "vllm-test")


def build(kind: str, project: Path, into: Path) -> Path:
    """The hook that pip and uv call, without isolation and so without network."""
    program = f"import sys; from hatchling.build import build_{kind}; print(build_{kind}(sys.argv[1]))"
    done = subprocess.run(
        [sys.executable, "-c", program, str(into)], cwd=project, capture_output=True, text=True, check=True
    )
    return into / done.stdout.split()[-1]


def names_in(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build("wheel", REPOSITORY, tmp_path_factory.mktemp("wheel"))


@pytest.mark.parametrize(
    "pattern", ["schemas/*.sql", "flows/*.py", "recipes/*.toml", "lexicon/*.toml", "**/*.py", "py.typed"]
)
def test_the_wheel_carries_every_file_that_a_run_reads(wheel: Path, pattern: str) -> None:
    package = REPOSITORY / "src" / "promptforge"
    wanted = {f"promptforge/{path.relative_to(package).as_posix()}" for path in package.glob(pattern)}
    # flows/ may have no Python file only while there are no flows at all
    assert wanted or not any((REPOSITORY / "flows").iterdir())
    assert wanted <= names_in(wheel)


def test_the_wheel_carries_the_licence_and_the_command_and_no_test(wheel: Path) -> None:
    names = names_in(wheel)
    assert "promptforge-0.1.0.dist-info/licenses/LICENSE" in names
    assert {name.partition("/")[0] for name in names} == {"promptforge", "promptforge-0.1.0.dist-info"}
    with zipfile.ZipFile(wheel) as archive:
        commands = archive.read("promptforge-0.1.0.dist-info/entry_points.txt").decode()
    assert "promptforge = promptforge.cli:main" in commands


def test_a_wheel_made_from_the_source_archive_holds_the_same_files(wheel: Path, tmp_path: Path) -> None:
    with tarfile.open(build("sdist", REPOSITORY, tmp_path)) as archive:
        archive.extractall(tmp_path, filter="data")
    from_archive = build("wheel", tmp_path / "promptforge-0.1.0", tmp_path)
    assert names_in(from_archive) == names_in(wheel)


def locked(name: str) -> dict[str, list[Requirement]]:
    """Requirements of one lock by package; a package has several where versions differ by Python version."""
    text = (REPOSITORY / "requirements" / f"{name}.txt").read_text(encoding="utf-8")
    found: dict[str, list[Requirement]] = {}
    for entry in re.sub(r"\\\n\s*", "", re.sub(r"^#.*\n", "", text, flags=re.M)).splitlines():
        words, *hashes = entry.split(" --hash=sha256:")
        assert hashes, f"{name}.txt: {words} has no hash"
        assert all(re.fullmatch(r"[0-9a-f]{64}", value.strip()) for value in hashes)
        requirement = Requirement(words)
        assert re.fullmatch(r"==[^*,]+", str(requirement.specifier)), f"{name}.txt: {words} is not pinned"
        found.setdefault(canonicalize_name(requirement.name), []).append(requirement)
    return found


def project() -> dict:
    return tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))


def extra(name: str) -> list[str]:
    return project()["project"]["optional-dependencies"][name]


@pytest.mark.parametrize("name", LOCKS)
def test_a_lock_pins_everything_by_hash_and_names_no_address_and_no_folder(name: str) -> None:
    assert locked(name)
    text = (REPOSITORY / "requirements" / f"{name}.txt").read_text(encoding="utf-8")
    assert re.findall(r"://|^\s*-|@ |file:|\s/\w+", re.sub(r"^    --hash=.*$", "", text, flags=re.M), flags=re.M) == []


@pytest.mark.parametrize(
    ("lock", "wanted"),
    [
        ("core", project()["project"]["dependencies"]),
        ("dev", extra("dev")),
        ("fast", extra("fast")),
        ("models", [name for name in extra("models") if Requirement(name).name != "torch"]),
        ("models", [name for name in extra("train") if not name.startswith("promptforge[")]),
        ("build", project()["dependency-groups"]["build"] + project()["build-system"]["requires"]),
        ("uv", project()["dependency-groups"]["uv"]),
    ],
)
def test_a_lock_holds_a_fitting_version_of_all_that_the_project_names(lock: str, wanted: list[str]) -> None:
    pins = locked(lock)
    for requirement in map(Requirement, wanted):
        for pin in pins[canonicalize_name(requirement.name)]:
            (exact,) = pin.specifier
            assert requirement.specifier.contains(exact.version), f"{lock}.txt: {pin} against {requirement}"


def test_the_dev_lock_holds_the_core_lock_and_the_build_lock_pin_for_pin() -> None:
    dev = {name: sorted(map(str, pins)) for name, pins in locked("dev").items()}
    for name in ("core", "build"):
        part = {package: sorted(map(str, pins)) for package, pins in locked(name).items()}
        assert part.items() <= dev.items()


def test_the_core_lock_has_no_torch_and_nothing_that_runs_big_models() -> None:
    heavy = {"torch", "torchvision", "triton", "vllm", "transformers", "diffusers", "easyocr", "open-clip-torch", "ray"}
    core = locked("core")
    assert heavy.isdisjoint(core)
    assert not [name for name in core if name.startswith("nvidia-")]


def test_torch_stands_apart_at_the_version_that_the_project_names_and_brings_no_cuda_into_the_lock() -> None:
    (torch,) = [line for line in extra("models") if Requirement(line).name == "torch"]
    apart = (REPOSITORY / "requirements" / "torch.txt").read_text(encoding="utf-8")
    assert [line for line in apart.splitlines() if not line.startswith("#")] == [torch] == ["torch==2.13.0"]
    models = locked("models")
    assert "torch" not in models
    assert not [name for name in models if name.startswith(("nvidia-", "triton", "cuda"))]


def test_the_lock_of_compiled_loops_is_the_core_lock_and_numba() -> None:
    fast, core = locked("fast"), locked("core")
    assert fast.keys() - core.keys() == {"numba", "llvmlite"}
    assert all(sorted(map(str, fast[name])) == sorted(map(str, core[name])) for name in core)


def test_the_models_lock_fits_on_the_core_lock_pin_for_pin() -> None:
    models = {name: sorted(map(str, pins)) for name, pins in locked("models").items()}
    assert {package: sorted(map(str, pins)) for package, pins in locked("core").items()}.items() <= models.items()
