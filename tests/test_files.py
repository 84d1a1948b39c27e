"""Files that survive a kill or a full disk: whole under their name, or not there."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from promptforge import files


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_is_put_whole_and_may_be_replaced(tmp_path: Path) -> None:
    files.put(tmp_path / "deep" / "a", b"one")
    files.put(tmp_path / "deep" / "a", b"two")
    assert (tmp_path / "deep" / "a").read_bytes() == b"two"
    assert names(tmp_path / "deep") == ["a"]


def test_a_new_file_is_never_replaced(tmp_path: Path) -> None:
    assert files.put_new(tmp_path / "a", b"one")
    assert not files.put_new(tmp_path / "a", b"two")
    assert (tmp_path / "a").read_bytes() == b"one"
    assert names(tmp_path) == ["a"]


def test_of_many_threads_one_makes_the_file(tmp_path: Path) -> None:
    won: list[int] = []
    start = threading.Barrier(8)

    def work(number: int) -> None:
        start.wait()
        if files.put_new(tmp_path / "a", str(number).encode()):
            won.append(number)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == 1
    assert (tmp_path / "a").read_bytes() == str(won[0]).encode()
    assert names(tmp_path) == ["a"]


@pytest.mark.parametrize("write", [files.put, files.put_new])
def test_a_disk_that_fails_at_fsync_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write) -> None:
    def fail(handle: int) -> None:
        raise OSError(errno.EIO, "no more")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="no more"):
        write(tmp_path / "a", b"one")
    assert names(tmp_path) == []


def test_a_file_size_limit_leaves_the_old_file_as_it_was(tmp_path: Path) -> None:
    """The kernel refuses the write in the middle (RLIMIT_FSIZE), as a full disk would."""
    files.put(tmp_path / "a", b"one")
    code = (
        "import resource, signal, sys; from pathlib import Path; from promptforge import files\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))\n"
        "files.put(Path(sys.argv[1]), b'x' * 9000)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "a")], capture_output=True, text=True, check=False
    )
    assert "File too large" in done.stderr
    assert (tmp_path / "a").read_bytes() == b"one"
    assert names(tmp_path) == ["a"]


def test_a_kill_before_the_rename_leaves_only_a_temporary_name(tmp_path: Path) -> None:
    code = (
        "import os, signal, sys; from pathlib import Path; from promptforge import files\n"
        "os.fsync = lambda handle: os.kill(os.getpid(), signal.SIGKILL)\n"
        "files.put(Path(sys.argv[1]), b'x' * 9000)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path / "a")], check=False)
    assert done.returncode == -signal.SIGKILL
    (left,) = names(tmp_path)
    assert left.startswith(files.TEMPORARY)


def test_the_sha256_is_that_of_the_bytes(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc")
    # FIPS 180-2, appendix B.1
    assert files.sha256_file(tmp_path / "a") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
