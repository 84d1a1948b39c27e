"""One set of tiny models for all tests of the folder, and a language model's server for each module."""

import os
from pathlib import Path

import pytest
from filelock import FileLock

from .runs import Models, Reference, Writer


@pytest.fixture(scope="session")
def shared(tmp_path_factory) -> Path:
    """A folder that the workers of the suite share: the first makes what lies in it, the others wait."""
    base = tmp_path_factory.getbasetemp()
    found = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "real-models"
    found.mkdir(exist_ok=True)
    return found


@pytest.fixture(scope="session")
def models(shared, one_thread) -> Models:
    found = Models(shared / "models")
    with FileLock(shared / "models.lock"):
        if not found.base.exists():
            found.base.mkdir()
            found.make()
    return found


@pytest.fixture(scope="session")
def reference(shared, models) -> Reference:
    """A run of `small` that nothing disturbed; not to be changed."""
    found = Reference(shared / "reference")
    with FileLock(shared / "reference.lock"):
        if not found.root.exists():
            found.make(models)
    return found


@pytest.fixture(scope="module")
def writer():
    found = Writer()
    yield found
    found.close()
