"""run --extends and publish --extends: what they set, and what is refused before anything starts."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import duckdb
import pytest

from promptforge.commands.run import extending, make_params
from promptforge.lock import Lock
from promptforge.stages import pipeline
from promptforge.stages.run import prepare

Ask = Callable[..., tuple[int, str, str]]


def test_a_name_is_a_run_under_runs_unless_a_folder_is_called_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs" / "v1").mkdir(parents=True)
    assert extending("v1") == ['publish.extends="runs/v1"']
    (tmp_path / "v1").mkdir()
    assert extending("v1") == ['publish.extends="v1"']
    assert extending('a "set"') == ['publish.extends="a \\"set\\""']
    assert extending(None) == []


def publish(root: str, texts: list[str], extends: str | None = None) -> set[str]:
    """Texts of the data set that the flow's parameters make of a file, without the scheduler."""
    Path(f"{Path(root).name}.txt").write_text("\n".join(texts), "utf-8")
    params = make_params(
        recipe="mini",
        sources=[f"{Path(root).name}.txt"],
        axis="image_quality",
        out=root,
        settings=["render.sample=0", *extending(extends)],
    )
    prepare(Path(root), params.raw(), "test")
    with Lock(Path(root)) as lock:
        pipeline.make_all(Path(root), lock.epoch)
    rows = duckdb.sql(f"SELECT text FROM '{root}/dataset/index.parquet'").fetchall()
    assert len(rows) == len({text for (text,) in rows})
    return {text for (text,) in rows}


def test_a_run_adds_its_prompts_to_those_of_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ask: Ask) -> None:
    monkeypatch.chdir(tmp_path)
    first = publish("runs/v1", ["a quiet lake at dawn, soft light", "an old lighthouse in the fog"])
    both = publish("runs/v2", ["A QUIET lake at dawn: soft light", "a stone bridge over a river"], "v1")
    assert both - first == {"a stone bridge over a river"}
    assert first == both - {"a stone bridge over a river"}
    with duckdb.connect() as con:
        ((fog,),) = con.sql("SELECT prompt_id FROM 'runs/v1/dataset/index.parquet' WHERE text LIKE '%fog'").fetchall()
    code, out, _ = ask("why", fog, "--run", "runs/v2")
    assert code == 0
    assert "an old lighthouse in the fog" in out
    assert "fate       taken over from v1/dataset" in out
    for command in (("run", "mini"), ("publish", "--run", "runs/v2")):
        code, _, err = ask(*command, "--extends", "nowhere")
        assert (code, len(err.splitlines())) == (2, 1)
        assert "publish.extends: nowhere: no published data set" in err
    code, _, err = ask("publish", "--run", "runs/v1", "--extends", "v1")
    assert code == 2
    assert "this run itself publishes" in err
