"""Digests of large files, remembered between processes while the files stay as they are."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from promptforge.models import digests

SHA = hashlib.sha256(b"weights").hexdigest()


@pytest.fixture(autouse=True)
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Files of any size and age are remembered, below a folder of the test."""
    monkeypatch.setattr(digests, "LARGE", 1)
    monkeypatch.setattr(digests, "RECENT_S", -60.0)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv(digests.SWITCH, raising=False)
    digests._once.cache_clear()
    yield
    digests._once.cache_clear()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "model.safetensors"
    path.write_bytes(b"weights")
    return path


def entries(tmp_path: Path) -> list[Path]:
    return sorted((tmp_path / "cache" / "promptforge" / "digests").glob("*"))


def in_a_new_process(path: Path, monkeypatch: pytest.MonkeyPatch | None = None) -> str:
    """The digest with nothing remembered in memory; with `monkeypatch`, reading the file would fail."""
    digests._once.cache_clear()
    if monkeypatch is None:
        return digests.sha256_of(path)
    with monkeypatch.context() as patch:
        patch.setattr(digests, "sha256_file", None)
        return digests.sha256_of(path)


def test_the_next_process_does_not_read_the_file(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert digests.sha256_of(file) == SHA
    assert in_a_new_process(file, monkeypatch) == SHA


def test_a_file_of_the_same_size_and_time_is_read_anew(file: Path, tmp_path: Path) -> None:
    digests.sha256_of(file)
    before = file.stat()
    file.write_bytes(b"WEIGHTS")
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert in_a_new_process(file) == hashlib.sha256(b"WEIGHTS").hexdigest()
    other = tmp_path / "other"
    other.write_bytes(b"another")
    os.utime(other, ns=(before.st_atime_ns, before.st_mtime_ns))
    other.replace(file)
    assert in_a_new_process(file) == hashlib.sha256(b"another").hexdigest()


@pytest.mark.parametrize("damage", [b"", b"0" * 64, b"\xff\xfe", "0" * 64 + " " + "0" * 64 + "\n"])
def test_a_damaged_entry_is_read_past_and_mended(
    file: Path, tmp_path: Path, damage: bytes | str, monkeypatch: pytest.MonkeyPatch
) -> None:
    digests.sha256_of(file)
    (entry,) = entries(tmp_path)
    entry.write_bytes(damage.encode() if isinstance(damage, str) else damage)
    assert in_a_new_process(file) == SHA
    assert in_a_new_process(file, monkeypatch) == SHA


def test_an_entry_of_one_file_says_nothing_of_another(file: Path, tmp_path: Path) -> None:
    digests.sha256_of(file)
    other = tmp_path / "other.safetensors"
    other.write_bytes(b"others")
    digests.sha256_of(other)
    first, second = entries(tmp_path)
    one = first.read_bytes()
    first.write_bytes(second.read_bytes())
    second.write_bytes(one)
    assert in_a_new_process(file) == SHA


def test_the_switch_and_a_folder_that_cannot_be_written_leave_no_trace(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(digests.SWITCH, "off")
    assert in_a_new_process(file) == SHA
    assert not (tmp_path / "cache").exists()
    monkeypatch.delenv(digests.SWITCH)
    (tmp_path / "cache").write_text("a file where the folder should be")
    assert in_a_new_process(file) == SHA


def test_small_files_and_files_that_just_changed_are_not_remembered(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(digests, "LARGE", 8)  # it has 7 bytes
    assert in_a_new_process(file) == SHA
    monkeypatch.setattr(digests, "LARGE", 7)
    monkeypatch.setattr(digests, "RECENT_S", 60.0)
    assert in_a_new_process(file) == SHA
    assert entries(tmp_path) == []
