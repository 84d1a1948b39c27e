"""One run of the flow curate in this process, with a temporary server where the person has none."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from promptforge import recipe
from promptforge.errors import EnvironmentFault
from promptforge.flows.params import CurateParams
from promptforge.flows.server import TemporaryServer
from promptforge.flows.settings import configure
from promptforge.protocols import Request
from promptforge.stages import parts
from promptforge.stages.progress import meter


def curate_here(params: CurateParams, root: Path, *, debug: bool = False) -> dict[str, Any]:
    """What the flow gives. PREFECT_API_URL is used where it is set; the fault of a task is raised as it was."""
    home = configure(root, debug=debug)
    if address := os.environ.get("PREFECT_API_URL"):
        from promptforge.flows.curate import curate

        try:
            return curate(params)
        except RuntimeError as exc:
            if "Failed to reach API" not in str(exc):
                raise
            raise EnvironmentFault(
                f"PREFECT_API_URL is {address}, and no Prefect server answers there; start one with"
                " `promptforge serve`, or unset it for a temporary one"
            ) from exc
    with TemporaryServer(home) as server:
        _look_before(params)
        from prefect.settings import (
            PREFECT_API_URL,
            PREFECT_FLOWS_HEARTBEAT_FREQUENCY,
            PREFECT_LOGGING_TO_API_ENABLED,
            temporary_settings,
        )

        from promptforge.flows.curate import curate

        server.wait(meter(root).stopping.is_set)
        meter(root).add("generate", 0)  # raises where the person has stopped the run meanwhile
        # What only a lasting server is for: its log, which nobody could read later, and the heartbeat, which tells it
        # that a run has died and costs a second for each of five flows.
        only_here = {PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None, PREFECT_LOGGING_TO_API_ENABLED: False}
        with temporary_settings({PREFECT_API_URL: server.url, **only_here}):
            return curate(params)


def _look_before(params: CurateParams) -> None:
    """Raise for a file or folder that cannot be read while the server is starting, not after hours of other work."""
    checked = recipe.validate(params.raw(), params.recipe)
    found = parts.resolve(checked, params.recipe)
    if checked.render.sample > 0:
        parts.check_places({"regime": found.teacher, **{f"scorers.{part.name}": part for part in found.scorers}})
    for part in found.sources:
        parts.build_source(part, checked.seed, None if part.asks is None else _nobody).parts()


def _nobody(requests: Sequence[Request]) -> NoReturn:
    """A source reads its files before it asks."""
    raise AssertionError(f"{len(requests)} requests before any row is read")
