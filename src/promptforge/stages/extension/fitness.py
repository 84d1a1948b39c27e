"""May this run add to that data set? Asked before any work."""

from __future__ import annotations

import json

import pyarrow.compute as pc

from promptforge import lexicon
from promptforge.errors import ConfigError
from promptforge.stages.dataset_faults import reserved_faults
from promptforge.stages.extension.published import MANIFEST, Extended
from promptforge.stages.run import DATASET, Run
from promptforge.stages.shards import INDEX_COLUMNS, LATER_COLUMNS, PICTURE_COLUMNS, PROMPT_COLUMNS


def require_fit(run: Run, extended: Extended) -> None:
    """Raise SourceFault where the set is not whole, ConfigError where it cannot be one with what this run makes."""
    seen = extended.manifest["columns"].get("index", {})
    wanted = (*PROMPT_COLUMNS, *PICTURE_COLUMNS, *INDEX_COLUMNS)
    lost = [name for name in wanted if name not in seen and name not in LATER_COLUMNS]
    if lost:
        raise _refused(
            extended,
            f"has no column {', '.join(lost)} (made by promptforge {extended.manifest['promptforge']}); publish it"
            " again with this version",
        )
    if not _is_taken(run, extended):
        extended.require_whole()
    if any(axis["pictures"] for split in extended.manifest["counts"].values() for axis in split.values()):
        _require_like_pictures(run, extended)
    # The lexicon grows; what counts is whether every row still lies where its words belong.
    if extended.manifest["backends"]["lexicon"] != lexicon.digest():
        faults = list(reserved_faults(extended.root))
        if faults:
            raise _refused(
                extended,
                f"was made with other reserved words: {faults[0].detail} (and {len(faults) - 1} more), so its tests"
                " would leak; add to it with the promptforge that made it"
                f" ({extended.manifest['promptforge']})",
            )


def _require_like_pictures(run: Run, extended: Extended) -> None:
    publish = run.recipe.publish
    theirs = extended.manifest["recipe"]["publish"]["format"]
    if theirs != publish.format:
        raise _refused(
            extended,
            f"has its pictures as {theirs}, which stay as they are, and this run would add {publish.format}; use --set"
            f" publish.format={theirs}",
        )
    shown = extended.index.filter(extended.index["keep_image"])
    others = sorted(set(pc.unique(shown["teacher"]).to_pylist()) - {run.teacher_fingerprint})
    if others and run.recipe.render.sample > 0 and not publish.other_teacher:
        raise _refused(
            extended,
            f"has pictures of another teacher or regime (fingerprint {', '.join(others)}; this run's is"
            f" {run.teacher_fingerprint}); take its regime, add prompts alone (--set render.sample=0), or take both"
            " with --set publish.other_teacher=true: the column teacher tells them apart",
        )


def _is_taken(run: Run, extended: Extended) -> bool:
    """Whether this run has published with it already, so that its pictures are read no more unless that is lost."""
    try:
        made = json.loads((run.root / DATASET / MANIFEST).read_text("utf-8"))
        return bool(made["extends"]["manifest_sha256"] == extended.sha256)
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _refused(extended: Extended, why: str) -> ConfigError:
    return ConfigError(f"publish.extends: {extended.root} {why}")
