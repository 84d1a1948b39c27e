"""What tests outside one folder share: the evaluation sets and the tools of the machine."""

import os
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent

# A job in the background of a script ignores Ctrl-C, and so would the programs that tests start and interrupt.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def lacking(what: str) -> None:
    """Fail where CI=true, for CI installs what its tests need; skip elsewhere. Both say what is lacking."""
    if os.environ.get("CI", "").lower() == "true":
        pytest.fail(f"{what}; under CI=true this is a fault, .ci/run should have installed it")
    pytest.skip(what)


@pytest.fixture(scope="session")
def eval_data() -> Path:
    """Folder of the public prompt sets; they are never part of the repository, so without them a test is skipped."""
    folder = Path(os.environ.get("PROMPTFORGE_EVAL_DATA") or REPOSITORY.parent / "shared" / "data")
    if not folder.is_dir():
        pytest.skip(f"no evaluation sets in {folder}; set PROMPTFORGE_EVAL_DATA to a folder that has them")
    return folder


@pytest.fixture(scope="session")
def need_tool() -> Callable[[str], str]:
    """Path of a program, by name; without the program the test is skipped, or fails under CI=true."""

    def find(name: str) -> str:
        path = shutil.which(name)
        if path is None:
            lacking(f"{name} is not installed")
        return str(path)

    return find


@pytest.fixture(scope="session")
def one_thread() -> Iterator[None]:
    """From here on torch works in one thread: two on tensors this small spend their time waiting for each other."""
    from promptforge.models.torch_setup import load_torch

    torch = load_torch()
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
