"""The experiment from pools to tables with an untrained pipeline and untrained judges, a few prompts and steps."""

import importlib.util
import json
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks" / "experiment"))

from gates import draws, pools, training
from gates.plan import Experiment, Scale

pytestmark = pytest.mark.models

FOLDER = Path(__file__).resolve().parents[2] / "benchmarks" / "experiment"

SCALE = Scale(candidates=100, prompts=6, measured=8, takes=2, batches=2, batch=6, held_out=2, gap_prompts=2)
ARMS = ("random", "prompt, refill", "random, equal compute")


def script(name):
    spec = importlib.util.spec_from_file_location(f"experiment_{name}", FOLDER / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def experiment(tmp_path_factory):
    from promptforge.models import picture_judge
    from promptforge.models.torch_setup import load_torch
    from promptforge.sources import miniature
    from tests.tiny_models.pipelines import tiny_flux

    torch, root = load_torch(), tmp_path_factory.mktemp("experiment")
    known = picture_judge.Known(miniature.NOUNS, miniature.COLOURS, miniature.words())
    shape = picture_judge.Shape(((8, 3, 2), (8, 3, 2), (8, 3, 2)), 1, 8, "plain")
    judges = []
    for seed, name in enumerate(("select", "evaluate")):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            picture_judge.save(root / name, picture_judge.net(shape, known), shape, known)
        judges.append(str(root / name))
    teacher = tiny_flux(root / "flux", guidance_embeds=False)
    made = Experiment(root / "out", str(teacher), SCALE, *judges)
    run = script("run")
    run.claim(made)
    run._run(made, run.chosen(ARMS), range(2), 1)
    return made


def done(experiment):
    return {path.name: json.loads(path.read_text("utf-8")) for path in (experiment.out / "done").glob("*.json")}


def test_every_arm_and_seed_has_its_numbers(experiment):
    found = done(experiment)
    assert sorted(found) == [
        *("prompt_refill-s0.json", "prompt_refill-s1.json", "random-s0.json", "random-s1.json"),
        *("random_equal-compute-s0.json", "random_equal-compute-s1.json"),
    ]
    for told in found.values():
        assert told["n_prompts"] == 18
        assert told["optimiser_steps"] == 8 * (2 + told["more_batches"])
        assert told["clean"]["all"] == pytest.approx(sum(told["clean"][axis] for axis in pools.AXES) / 3)
        assert all(value > 0 for value in told["uncurated"].values())


def test_equal_compute_pays_for_the_renders_of_teachability(experiment):
    price = json.loads((experiment.out / "price.json").read_text("utf-8"))
    costs = draws.prepare(experiment, 0)["costs"]
    assert costs["renders_teachability"] == 2 * 8 * 2  # two takes of eight prompts of the two axes that are judged
    assert costs["renders"] == costs["renders_teachability"] + 8  # and the first takes of the axis that is not
    more = done(experiment)["random_equal-compute-s0.json"]["more_batches"]
    assert more == round(32 * price["render_s"] / price["step_s"] / 8)


def test_no_student_sees_a_held_out_text_and_refill_takes_other_prompts_in_its_second_half(experiment):
    import pyarrow.parquet as pq

    for folder in (experiment.out / "runs").iterdir():
        texts = pq.read_table(folder / "dataset" / "prompts")["text"].to_pylist()
        assert not any(map(pools.is_held_out, texts))
        assert len(texts) == (9 if "refill" in folder.name else 18)
    half = [line["phase"] for line in training.losses(experiment.out / "runs" / "prompt_refill-s0" / "train")]
    assert half == ["first"] * 8 + ["second"] * 8


def test_a_student_that_is_lost_comes_back_with_the_same_numbers_and_the_others_are_left(experiment):
    import shutil

    run, before = script("run"), done(experiment)
    (experiment.out / "done" / "random-s0.json").unlink()
    shutil.rmtree(experiment.out / "runs" / "random-s0")
    others = {path: path.stat().st_mtime_ns for path in (experiment.out / "done").glob("*.json")}
    run._run(experiment, run.chosen(ARMS), range(2), 1)
    after = done(experiment)["random-s0.json"]
    for name in ("clean", "uncurated", "apart", "last_loss"):
        assert after[name] == before["random-s0.json"][name]
    assert {path: path.stat().st_mtime_ns for path in others} == others


def test_the_tables_pair_the_seeds_that_both_arms_have(experiment, tmp_path):
    report = script("report")
    assert report.main([str(experiment.out), "--into", str(tmp_path)]) == 0
    record = json.loads((tmp_path / "experiment.json").read_text("utf-8"))
    assert record["comparisons"] == []  # prompt and prompt + teachability, which these are held against, were left out
    assert record["arms"]["random"]["n_seeds"] == 2
    numbers = {
        seed: told["clean"]
        for name, told in done(experiment).items()
        if name[:8] == "random-s"
        for seed in [told["seed"]]
    }
    assert record["arms"]["random"]["clean"]["all"] == pytest.approx((numbers[0]["all"] + numbers[1]["all"]) / 2)
    assert "| prompt, refill | 2 |" in (tmp_path / "experiment.md").read_text("utf-8")


def test_another_scale_does_not_go_into_the_same_folder(experiment):
    from dataclasses import replace

    from promptforge.errors import ConfigError

    with pytest.raises(ConfigError, match="holds an experiment with another"):
        script("run").claim(replace(experiment, scale=Scale()))
