"""The lasting server: its deployments fit the flow; with PROMPTFORGE_TEST_SERVE=1 a run through it (about 60 s)."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from promptforge.errors import ConfigError, EnvironmentFault
from promptforge.flows import serve
from promptforge.flows.distill_params import DistillParams
from promptforge.flows.params import CurateParams
from promptforge.flows.settings import configure, home

REPOSITORY = Path(__file__).resolve().parents[2]


def test_every_deployment_names_a_flow_and_parameters_that_it_takes() -> None:
    project = yaml.safe_load((REPOSITORY / "prefect.yaml").read_text())
    taken = {
        "curate/mini": CurateParams,
        "distill/flux-t5-base": DistillParams,
        "distill/miniature": DistillParams,
    }
    names = [f"{each['entrypoint'].partition(':')[2]}/{each['name']}" for each in project["deployments"]]
    assert names == list(taken)
    for deployment, params in zip(project["deployments"], taken.values(), strict=True):
        path, name = deployment["entrypoint"].split(":")
        assert f"def {name}(params: {params.__name__})" in (REPOSITORY / path).read_text()
        params.model_validate(deployment["parameters"]["params"])
        assert deployment["description"]
        assert deployment["tags"]
        assert deployment["work_pool"]["name"] == serve.POOL


def test_serving_elsewhere_than_in_the_repository_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=r"prefect\.yaml"):
        serve.serve_until_stopped(None)


def test_a_port_that_is_taken_is_told() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(EnvironmentFault, match="--port"):
        serve._free_port(taken.getsockname()[1])


def test_prefect_stays_in_the_project_and_off_the_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("PREFECT_")]:
        monkeypatch.delenv(name)
    monkeypatch.setattr(os, "environ", os.environ.copy())
    os.environ["NO_PROXY"] = "example.org"
    monkeypatch.chdir(tmp_path)
    assert configure(tmp_path / "runs" / "x") == tmp_path / ".prefect"
    assert os.environ["PREFECT_HOME"] == str(tmp_path / ".prefect")
    assert os.environ["DO_NOT_TRACK"] == "1"
    assert os.environ["PREFECT_SERVER_ANALYTICS_ENABLED"] == "false"
    assert os.environ["NO_PROXY"] == "example.org,127.0.0.1,localhost"


def test_a_persons_own_settings_of_prefect_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "environ", os.environ | {"PREFECT_HOME": str(tmp_path), "PREFECT_LOGGING_LEVEL": "INFO"})
    assert home(Path("elsewhere")) == configure(Path("elsewhere")) == tmp_path
    assert os.environ["PREFECT_LOGGING_LEVEL"] == "INFO"


@pytest.mark.skipif(
    os.environ.get("PROMPTFORGE_TEST_SERVE") != "1", reason="takes a minute; set PROMPTFORGE_TEST_SERVE=1"
)
def test_a_deployed_run_completes_and_a_bad_value_is_refused_at_submission(tmp_path: Path) -> None:
    shutil.copy(REPOSITORY / "prefect.yaml", tmp_path)
    (tmp_path / "flows").symlink_to(REPOSITORY / "flows")
    (tmp_path / "own.txt").write_text("a red apple on a blue table\na quiet lake at dawn\n")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    serving = subprocess.Popen(
        [sys.executable, "-m", "promptforge.cli", "serve"],
        cwd=tmp_path,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        assert serving.stdout is not None
        line = next(line for line in serving.stdout if line.startswith("to run:"))
        found = re.search(r"PREFECT_API_URL=(\S+)", line)
        assert found is not None
        environment |= {"PREFECT_API_URL": found[1], "PREFECT_HOME": str(tmp_path / "home"), "DO_NOT_TRACK": "1"}

        def submit(**params: object) -> subprocess.CompletedProcess[str]:
            given = ["deployment", "run", "curate/mini", "--watch", "--param", f"params={json.dumps(params)}"]
            return subprocess.run(
                [sys.executable, "-m", "prefect", *given],
                cwd=tmp_path,
                env=environment,
                capture_output=True,
                text=True,
                timeout=180,
                check=False,
            )

        refused = submit(recipe="mini", takes=0)
        assert refused.returncode == 1
        assert "params.takes" in refused.stdout + refused.stderr
        done = submit(recipe="mini", sources=["own.txt"], settings=["regime.size=128"])
        assert done.returncode == 0, done.stdout + done.stderr
        assert "Completed" in done.stdout
        assert (tmp_path / "runs/mini/dataset/manifest.json").is_file()
    finally:
        serving.send_signal(signal.SIGINT)
        rest, _ = serving.communicate(timeout=60)
    assert serving.returncode == 0, rest
