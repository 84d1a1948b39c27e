"""A lasting Prefect server on loopback with the deployments of prefect.yaml and a worker, until Ctrl-C.

Runs Prefect's own commands, those that the README gives for doing it by hand. Everybody who can reach the port can
start runs, so it listens on 127.0.0.1 alone.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from rich.console import Console

from promptforge.errors import ConfigError, EnvironmentFault
from promptforge.flows.settings import home, quiet_network

POOL = "promptforge"
START_S = 120.0
STOP_S = 10.0


def serve_until_stopped(port: int | None) -> int:
    """The exit code: 0 after Ctrl-C or a polite kill; EnvironmentFault where a part ends by itself."""
    if not Path("prefect.yaml").is_file():
        raise ConfigError("no prefect.yaml in this folder; start `promptforge serve` in the repository's folder")
    console = Console(markup=False, highlight=False, soft_wrap=True)
    port = _free_port(port)
    folder = home(Path.cwd() / "runs")
    folder.mkdir(parents=True, exist_ok=True)
    address = f"http://127.0.0.1:{port}"
    environment = {
        **os.environ,
        **quiet_network(folder),
        "PREFECT_API_URL": f"{address}/api",
        "PWD": str(Path.cwd()),  # prefect.yaml's working directory
    }
    log = folder / "serve.log"
    signal.signal(signal.SIGTERM, _interrupt)
    console.print(f"starting Prefect on {address}; its log is {log}")
    with ExitStack() as stack:
        try:
            command = ["server", "start", "--host", "127.0.0.1", "--port", str(port)]
            server = stack.enter_context(_running(command, environment, log, "wb"))
            _await_health(f"{address}/api/health", server, log)
            _do(["work-pool", "create", POOL, "--type", "process", "--overwrite"], environment)
            _do(["deploy", "--all"], environment)
            command = ["worker", "start", "--pool", POOL, "--type", "process"]
            worker = stack.enter_context(_running(command, environment, log, "ab"))
            console.print(f"\nUI:        {address}")
            console.print("to run:    " + run_line(address))
            console.print("Ctrl-C stops the server, the worker and what it is running.")
            _await_end({"server": server, "worker": worker}, log)
        except KeyboardInterrupt:
            console.print("\nstopping")
    return 0


def run_line(address: str) -> str:
    """The command that starts a run on this server, from any terminal in the repository's folder."""
    program = Path(sys.executable).with_name("prefect")
    with_path = os.path.relpath(program) if program.is_relative_to(Path.cwd()) else str(program)
    return f"DO_NOT_TRACK=1 PREFECT_API_URL={address}/api {with_path} deployment run 'curate/mini' --watch"


def _interrupt(_number: int, _frame: object) -> None:
    raise KeyboardInterrupt


def _free_port(wanted: int | None) -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", wanted or 0))
        except OSError as exc:
            raise EnvironmentFault(f"port {wanted} on 127.0.0.1: {exc.strerror}; leave --port out for one") from exc
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def _running(
    command: list[str], environment: Mapping[str, str], log: Path, mode: str
) -> Iterator[subprocess.Popen[bytes]]:
    """A Prefect command in a process group of its own, ended with all its children on the way out."""
    with log.open(mode) as sink:
        process = subprocess.Popen(
            [sys.executable, "-m", "prefect", *command],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=sink,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(STOP_S)
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # what is left of the group: a flow run loses no committed work
        process.wait()


def _do(command: list[str], environment: Mapping[str, str]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "prefect", "--no-prompt", *command],
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        said = " ".join((done.stdout + done.stderr).split())
        raise EnvironmentFault(f"prefect {' '.join(command)} ended with code {done.returncode}: {said[-500:]}")


def _await_health(url: str, server: subprocess.Popen[bytes], log: Path) -> None:
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        if server.poll() is not None:
            raise EnvironmentFault(f"Prefect's server ended with code {server.returncode}; {log} says why")
        try:
            with direct.open(url, timeout=2) as answer:
                if answer.status == 200:
                    return
        except (urllib.error.URLError, OSError):
            time.sleep(0.2)
    raise EnvironmentFault(f"Prefect's server did not answer within {START_S:.0f} s; {log} says why")


def _await_end(parts: Mapping[str, subprocess.Popen[bytes]], log: Path) -> None:
    while True:
        for name, process in parts.items():
            if process.poll() is not None:
                raise EnvironmentFault(f"Prefect's {name} ended with code {process.returncode}; {log} says why")
        time.sleep(0.5)
