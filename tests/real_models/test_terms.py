"""What a recipe must say before anything runs: the licence that it accepts, and who judges and who only reports."""

import datasets
import pytest

from promptforge import catalog
from promptforge.cli import answer
from promptforge.errors import ConfigError
from promptforge.recipe import override, validate
from promptforge.stages import parts
from promptforge.stages.run import Run, prepare
from promptforge.stages.verify import verify
from promptforge.store import Store

from .runs import LICENCE, dataset, drive, flux

pytestmark = [
    pytest.mark.models,
    # diffusers reads every pipeline to choose one, and one of them still uses TorchScript
    pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated:DeprecationWarning"),
]

PROMPTS = ["a red cup", "a blue boat on a lake", "a dog beside a lamp"]


def recipe(models, folder, **regime):
    path = folder / "three.txt"
    path.write_text("".join(f"{text}\n" for text in PROMPTS), "utf-8")
    return {
        "name": "three",
        "sources": [{"kind": "files", "paths": [str(path)], "axis": "semantic_understanding"}],
        "regime": {**flux(models), **regime},
        "scorers": {"technical": {}, "alignment": {"tower": models.clip}},
    }


def digests(root, raw):
    """Everything that names work: the teacher, each component, what head and manifest state."""
    checked = validate(raw, "test")
    found = parts.resolve(checked, "test")
    every = [part.digest for part in (*found.sources, *found.filters, found.teacher, *found.scorers)]
    return found.fingerprint, every, Run(root, checked, found, Store(root)).resolved


def test_a_restricting_licence_is_refused_before_anything_runs_and_named(tmp_path, models):
    raw = recipe(models, tmp_path, restricted=True)
    for given, said in (({}, "is not set"), ({"accept_license": "some-other"}, "is 'some-other'")):
        with pytest.raises(ConfigError) as fault:
            prepare(tmp_path / "run", {**raw, "regime": {**raw["regime"], **given}}, "three.toml")
        assert str(fault.value).startswith(f"three.toml: regime.accept_license {said}; ")
        assert str(fault.value).endswith(f"set regime.accept_license={LICENCE}")
    assert not (tmp_path / "run").exists()


def test_known_weights_bring_their_terms_though_none_is_stated(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert answer(["run", "flux-dev", "--set", "regime.accept_license=yes"]) == 2
    said = capsys.readouterr().err
    assert "regime.accept_license is 'yes'" in said
    assert "set regime.accept_license=flux-1-dev-non-commercial-license" in said
    assert list(tmp_path.iterdir()) == []


def test_an_accepted_licence_is_in_every_row_and_on_the_card_and_in_no_digest(tmp_path, models):
    raw = recipe(models, tmp_path, restricted=True, accept_license=LICENCE)
    root = tmp_path / "run"
    drive(root, raw)
    found = datasets.load_dataset(str(root / "dataset"), name="default", cache_dir=str(tmp_path / "cache"))
    rows = [row for split in found.values() for row in split]
    assert len(rows) == 3
    assert {row["teacher_licence"] for row in rows} == {LICENCE}
    with catalog.open_run(root) as con:
        assert con.sql("SELECT DISTINCT licence FROM images").fetchall() == [(LICENCE,)]
    assert LICENCE in (root / "dataset" / "README.md").read_text("utf-8")
    assert verify(root) == []
    free = recipe(models, tmp_path)
    agreed = recipe(models, tmp_path, accept_license="whatever is asked")
    assert digests(root, free) == digests(root, agreed)


def test_agreeing_to_what_needs_no_consent_draws_and_publishes_nothing_anew(tmp_path, models):
    root = tmp_path / "run"
    drive(root, recipe(models, tmp_path))
    before = dataset(root)
    tallies = drive(root, recipe(models, tmp_path, accept_license=LICENCE))
    assert {stage for stage, tally in tallies.items() if tally.done} == set()
    assert dataset(root) == before


def test_one_tower_does_not_both_select_and_evaluate_under_whatever_path(tmp_path, models):
    copy = tmp_path / "copy-of-clip"
    copy.mkdir()
    for name in ("open_clip_config.json", "open_clip_model.safetensors"):
        (copy / name).write_bytes((models.base / "clip" / name).read_bytes())
    for tower in (models.clip, str(copy)):
        raw = recipe(models, tmp_path)
        raw["scorers"]["second"] = {"kind": "alignment", "role": "evaluate", "tower": tower}
        with pytest.raises(ConfigError, match=r"scorers\.second evaluates with sha256:\w+, which scorers\.alignment"):
            prepare(tmp_path / "run", raw, "test")
    raw["scorers"]["second"]["tower"] = models.other_clip
    prepare(tmp_path / "run", raw, "test")


def test_a_head_on_the_same_tower_counts_as_the_same_judge(tmp_path, models):
    raw = recipe(models, tmp_path)
    raw["scorers"]["aesthetic"] = {"role": "evaluate", "tower": models.clip, "head": models.head}
    with pytest.raises(ConfigError, match=r"scorers\.aesthetic evaluates with .* scorers\.alignment selects with"):
        prepare(tmp_path / "run", raw, "test")


def test_no_gate_reads_what_only_evaluates(tmp_path, models):
    raw = recipe(models, tmp_path)
    raw["scorers"]["second"] = {"kind": "alignment", "role": "evaluate", "tower": models.other_clip}
    with pytest.raises(ConfigError, match=r"select\.gates\.close: scorer 'second' has the role evaluate, so no gate"):
        prepare(
            tmp_path / "run",
            override(raw, ["select.gates.close={scorer='second',metric='cosine',min=0.1}"]),
            "test",
        )


@pytest.mark.parametrize(("kind", "folder"), [("sd3", "sd3"), ("auto", "sd")])
def test_other_pipelines_run_from_prompt_to_data_set(tmp_path, models, kind, folder):
    raw = recipe(models, tmp_path)
    raw["regime"] |= {"model": getattr(models, folder), "pipeline": kind, "guidance": 4.0}
    if kind == "auto":
        del raw["regime"]["max_sequence_length"]
    else:
        raw["response"] = {"sample": 1.0, "timesteps": [0.0], "noises": 1, "shuffles": 1, "nonvisual": 1, "clauses": 0}
    sets = []
    for world in (1, 2):
        root = tmp_path / str(world)
        drive(root, raw, world)
        assert verify(root) == []
        sets.append(dataset(root))
    assert sets[0] == sets[1]
    found = datasets.load_dataset(str(root / "dataset"), name="default", cache_dir=str(tmp_path / "cache"))
    rows = [row for split in found.values() for row in split]
    assert sorted(row["text"] for row in rows) == sorted(PROMPTS)
    assert {row["image"].size for row in rows} == {(64, 64)}
    with catalog.open_run(root) as con:
        assert con.sql("SELECT count(DISTINCT prompt_id) FROM prompt_scores").fetchall() == [(3 * (kind == "sd3"),)]
