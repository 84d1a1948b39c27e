"""Prefect's settings for a run on one's own machine, put into the environment before prefect is first imported.

What a person has set in the environment stays. Profiles, servers and databases of other projects are not looked at:
PREFECT_HOME is a folder of this project. Nothing here reaches beyond loopback.
"""

from __future__ import annotations

import os
from pathlib import Path

LOCAL = ("127.0.0.1", "localhost")


def home(fallback: Path) -> Path:
    """Folder of Prefect's database and logs: PREFECT_HOME, else .prefect here, else beside the run."""
    if os.environ.get("PREFECT_HOME"):
        return Path(os.environ["PREFECT_HOME"]).expanduser()
    here = Path.cwd()
    return (here if os.access(here, os.W_OK) else fallback.resolve().parent) / ".prefect"


def quiet_network(folder: Path) -> dict[str, str]:
    """What keeps Prefect in this project's folder and off the network."""
    made = {
        "PREFECT_HOME": str(folder),
        "DO_NOT_TRACK": "1",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",
    }
    for name in ("NO_PROXY", "no_proxy"):  # a proxy in the environment would be asked for 127.0.0.1 too
        known = [part for part in os.environ.get(name, "").split(",") if part]
        made[name] = ",".join(dict.fromkeys([*known, *LOCAL]))
    return made


def configure(fallback: Path, *, debug: bool = False) -> Path:
    """Set what is not set; returns PREFECT_HOME. Only before the first import of prefect does it reach everything."""
    folder = home(fallback)
    defaults = {
        **quiet_network(folder),
        # The person sees one line for a fault, from the command line; the flow run keeps warnings and tracebacks.
        "PREFECT_LOGGING_LEVEL": "DEBUG" if debug else "WARNING",
        "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "NOTSET" if debug else "CRITICAL",
        "PREFECT_API_BLOCKS_REGISTER_ON_START": "false",  # no block is used; 0.5 s of the first start
    }
    for name, value in defaults.items():
        if name.lower() == "no_proxy":
            os.environ[name] = value
        else:
            os.environ.setdefault(name, value)
    return folder
