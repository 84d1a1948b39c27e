"""The tables take_outcomes and teachability, from what `judge` says of each planned picture.

Measured is a prompt of which every take was wanted, whatever passed (render_plan.fixed), and of which two at least were
rendered without error: a failed render is no take, and of a single one a share is 0 or 1 whatever the prompt. Prompts
whose takes stopped at the first pass are not: their last take always passed.

The share is drawn to that of the prompts like it, by a beta distribution fitted

    on the cell (axis and category), where it has CELL_PROMPTS measured prompts and these differ by more than chance;
    else on the axis, by the same rule;
    else Jeffreys' beta(1/2, 1/2), which knows nothing.

From 50 prompts on 95% intervals hold the true share of 93 to 97% of a cell's prompts, though the fit is taken for the
truth (4 and 8 takes, shares U-shaped to peaked). Not covered: takes that depend on each other.
"""

from __future__ import annotations

from typing import Any

import duckdb
import numpy as np
import pyarrow as pa

from promptforge.schema import arrow_schema
from promptforge.stages.teachability.beta_binomial import fit, posterior

CELL_PROMPTS = 50
LEAST_TAKES = 2

# Prompts that stopped are looked up by themselves: a join of all pictures by image_id takes twice as long as the rest.
_OUTCOMES = """
WITH found AS (
    SELECT prompt_id, count(*)::INTEGER AS n_takes,
        (count(*) FILTER (error IS NULL))::INTEGER AS n_rendered,
        (count(*) FILTER (error IS NULL AND n_failed = 0))::INTEGER AS n_passed,
        min(take) FILTER (error IS NULL AND n_failed = 0) AS first_pass
    FROM takes GROUP BY prompt_id
)
SELECT f.prompt_id, k.axis, k.category, s.prompt_id IS NULL AS fixed, f.* EXCLUDE (prompt_id)
FROM found f JOIN kept k ON k.prompt_id = f.prompt_id
LEFT JOIN (SELECT DISTINCT prompt_id FROM render_plan WHERE NOT fixed) s ON s.prompt_id = f.prompt_id
ORDER BY f.prompt_id
"""

_COUNTS = f"""
SELECT axis, category, n_passed, n_rendered, count(*) AS n_prompts FROM outcomes
WHERE fixed AND n_rendered >= {LEAST_TAKES} GROUP BY ALL ORDER BY ALL
"""

_MEASURED = f"""
SELECT o.prompt_id, o.axis, o.category, o.n_rendered AS n_takes, o.n_passed, o.n_passed / o.n_rendered AS share,
    p.estimate, p.low, p.high, p.prior, p.prior_a, p.prior_b
FROM outcomes o JOIN posteriors p ON p.axis = o.axis AND p.category IS NOT DISTINCT FROM o.category
    AND p.n_passed = o.n_passed AND p.n_rendered = o.n_rendered
WHERE o.fixed AND o.n_rendered >= {LEAST_TAKES} ORDER BY o.prompt_id
"""


def outcomes(con: duckdb.DuckDBPyConnection) -> pa.Table:
    """The table take_outcomes, from a catalog with render_plan and kept in which `judge` has made `takes`."""
    return con.sql(_OUTCOMES).to_arrow_table()


def teachability(con: duckdb.DuckDBPyConnection, outcomes: pa.Table) -> pa.Table:
    """The table teachability of these outcomes; no row where nothing was measured."""
    con.register("outcomes", outcomes)
    counts = con.sql(_COUNTS).to_arrow_table()
    if not counts.num_rows:
        return arrow_schema("teachability").empty_table()
    con.register("posteriors", _posteriors(counts))
    return con.sql(_MEASURED).to_arrow_table()


def _posteriors(counts: pa.Table) -> pa.Table:
    """`counts` with the posterior of each: prompts of a cell with equal counts are alike."""
    passed, takes, prompts = (counts[name].to_numpy() for name in ("n_passed", "n_rendered", "n_prompts"))
    passed, takes = passed.astype(np.int64), takes.astype(np.int64)
    axes, categories = counts["axis"].to_pylist(), counts["category"].to_pylist()
    fitted: dict[tuple[Any, ...], tuple[str, float, float]] = {}

    def prior(axis: str, category: str | None) -> tuple[str, float, float]:
        for kind, key in (("cell", (axis, category)), ("axis", (axis,))):
            if key not in fitted:
                rows = places[key]
                found = None
                if prompts[rows].sum() >= CELL_PROMPTS:
                    found = fit(passed[rows], takes[rows], prompts[rows])
                fitted[key] = ("jeffreys", 0.5, 0.5) if found is None else (kind, *found)
            if fitted[key][0] != "jeffreys":
                break
        return fitted[key]

    places: dict[tuple[Any, ...], list[int]] = {}
    for row, key in enumerate(zip(axes, categories, strict=True)):
        places.setdefault(key, []).append(row)
        places.setdefault(key[:1], []).append(row)
    priors = [prior(*key) for key in zip(axes, categories, strict=True)]
    a, b = (np.array([found[place] for found in priors], dtype=np.float64) for place in (1, 2))
    mean, low, high = posterior(passed, takes, a, b)
    made = {"estimate": mean, "low": low, "high": high, "prior": pa.array([found[0] for found in priors], pa.string())}
    made |= {"prior_a": a, "prior_b": b}
    for name, column in made.items():
        counts = counts.append_column(name, pa.array(column))
    return counts
