"""One run of the flow curate in this process, with a temporary server where the person has none."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from promptforge.flows.params import CurateParams
from promptforge.flows.server import TemporaryServer
from promptforge.flows.settings import configure
from promptforge.stages.progress import meter


def curate_here(params: CurateParams, root: Path, *, debug: bool = False) -> dict[str, Any]:
    """What the flow gives. PREFECT_API_URL is used where it is set; the fault of a task is raised as it was."""
    home = configure(root, debug=debug)
    if os.environ.get("PREFECT_API_URL"):
        from promptforge.flows.curate import curate

        return curate(params)
    with TemporaryServer(home) as server:
        from prefect.settings import PREFECT_API_URL, PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings

        from promptforge.flows.curate import curate

        server.wait(meter(root).stopping.is_set)
        meter(root).add("generate", 0)  # raises where the person has stopped the run meanwhile
        # A heartbeat tells a lasting server that a run has died; here it would cost a second for each of five flows.
        with temporary_settings({PREFECT_API_URL: server.url, PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}):
            return curate(params)
