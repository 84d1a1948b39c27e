"""Training and evaluation in processes of their own, so that a GPU's memory is free again and a kill hits only them.

    run(TRAIN, folder, processes, hear)     in the flow: starts them, hears how far they are, raises what they raised
    python -m promptforge.flows.apart       what it starts, for several processes through torchrun

The settings stand in <folder>/flow.json, what the processes print in <folder>/flow.log. They speak in lines of JSON on
standard output, and end when standard input closes, so that a flow that was killed leaves nothing running.
Not covered: several machines; there torchrun starts `promptforge distill` (README).
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Any

from promptforge import errors
from promptforge.distill.settings import DistillSettings, read
from promptforge.files import put
from promptforge.lock import Lock

TRAIN, EVALUATE = "train", "evaluate"

#: what is being done, pieces of it done, of how many
Hear = Callable[[str, int, int], None]

_STOP_S = 10.0


def ask(settings: DistillSettings, folder: Path) -> None:
    """Write down what is wanted, for the processes to read."""
    put(folder / "flow.json", settings.model_dump_json().encode())


def run(work: str, folder: Path, processes: int, hear: Hear) -> str:
    """The path that the work gives. A fault of promptforge is raised as it was, any other end as RuntimeError."""
    launcher = ["torch.distributed.run", "--standalone", "--nproc_per_node", str(processes), "-m"]
    command = [sys.executable, "-m", *(launcher if processes > 1 else []), __name__, work, str(folder)]
    log = folder / "flow.log"
    with log.open("ab") as sink:
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=sink, text=True, start_new_session=True
        )
    last: dict[str, Any] = {}
    try:
        assert process.stdout is not None
        for line in process.stdout:
            last = json.loads(line)
            if "what" in last:
                hear(last["what"], last["done"], last["total"])
            if "fault" in last:
                break
        else:
            process.wait()
    finally:
        _end(process)
    if "fault" in last:
        raise getattr(errors, last["fault"])(last["message"])
    if process.returncode or "result" not in last:
        raise RuntimeError(f"{work} ended with code {process.returncode}; {log} says why")
    return str(last["result"])


def _end(process: subprocess.Popen[str]) -> None:
    """Close standard input, which ends every process that is left; kill what does not hear it."""
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.close()
    try:
        process.wait(_STOP_S)
    except subprocess.TimeoutExpired:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    process.stdout.close()


def _leave_with_the_parent() -> None:
    os.read(0, 1)  # below Python's buffer, whose lock an interpreter that ends would wait for
    os._exit(1)


def main() -> int:
    """Do what the command line names; only the first process speaks."""
    work, folder = sys.argv[1], Path(sys.argv[2])
    is_first = os.environ.get("RANK", "0") == "0"
    mouth = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what libraries print goes to the log
    threading.Thread(target=_leave_with_the_parent, daemon=True).start()

    def say(**line: Any) -> None:
        if is_first:
            mouth.write(json.dumps(line) + "\n")
            mouth.flush()

    try:
        with Lock(folder) if is_first else nullcontext():
            result = _work(work, folder, lambda what, done, total: say(what=what, done=done, total=total))
    except errors.PromptforgeError as exc:
        say(fault=type(exc).__name__, message=str(exc))
        return exc.exit_code
    say(result=str(result))
    return 0


def _work(work: str, folder: Path, hear: Hear) -> Path:
    settings = read(json.loads((folder / "flow.json").read_text("utf-8")), "flow.json")
    if work == EVALUATE:
        from promptforge.distill.evaluation import evaluate

        return evaluate(settings, folder, hear)
    from promptforge.distill.train import train

    return train(
        settings, folder, lambda at: hear(f"{at.phase}: batch {at.batch:,}, loss {at.loss:.4g}", at.batch, at.n_batches)
    )


if __name__ == "__main__":
    sys.exit(main())
