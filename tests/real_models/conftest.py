"""One set of tiny models for all tests of the folder, and a language model's server for each module."""

import os

import pytest
from filelock import FileLock

from .runs import Models, Writer


@pytest.fixture(scope="session")
def one_thread():
    """Two threads on tensors this small spend their time waiting for each other."""
    from promptforge.models.torch_setup import load_torch

    torch = load_torch()
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def models(tmp_path_factory, one_thread) -> Models:
    base = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        base = base.parent  # the first worker makes them, the others wait
    found = Models(base / "real-models")
    with FileLock(f"{found.base}.lock"):
        if not found.base.exists():
            found.base.mkdir()
            found.make()
    return found


@pytest.fixture(scope="module")
def writer():
    found = Writer()
    yield found
    found.close()
