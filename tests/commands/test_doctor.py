"""doctor: everything that a recipe lacks on this machine, each with what to do; nothing fetched, no key given away."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest

from promptforge.models import weights
from tests.loopback import Silent, serving

Ask = Callable[..., tuple[int, str, str]]
Doctor = Callable[..., tuple[int, list[dict[str, Any]]]]

SCHNELL = "black-forest-labs/FLUX.1-schnell"


@pytest.fixture(autouse=True)
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of one's own, no model fetched, no token, no Prefect server."""
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "PREFECT_API_URL", "PREFECT_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("huggingface_hub.constants.HF_TOKEN_PATH", str(tmp_path / "token"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def doctor(ask: Ask) -> Doctor:
    """Exit code and findings."""

    def call(*given: str) -> tuple[int, list[dict[str, Any]]]:
        code, said, errors = ask("doctor", "--json", *given)
        assert errors == ""
        found = json.loads(said)
        assert found["ok"] == (code == 0) == all(item["ok"] for item in found["findings"])
        assert all(item["ok"] == (item["remedy"] is None) for item in found["findings"])
        return code, found["findings"]

    return call


def missing(findings: list[dict[str, Any]], name: str) -> list[str]:
    return [f"{item['said']}; {item['remedy']}" for item in findings if item["name"] == name and not item["ok"]]


def test_a_laptop_that_can_run_mini_is_in_order(doctor: Doctor, bare: Path) -> None:
    code, findings = doctor()
    assert code == 0
    assert {item["name"] for item in findings} >= {"Python", "recipe", "packages", "disk", "Prefect", "port"}
    assert list(bare.iterdir()) == []  # nothing was made


def test_the_screen_has_a_line_for_each_and_the_verdict(ask: Ask) -> None:
    code, said, _ = ask("doctor")
    lines = said.splitlines()
    assert code == 0
    assert all(line.startswith("ok       ") for line in lines[:-1])
    assert lines[-1] == "mini: everything is here"


def test_flux_schnell_on_a_bare_machine_lists_all_that_is_missing_each_with_its_remedy(doctor: Doctor) -> None:
    code, findings = doctor("--recipe", "flux-schnell")
    assert code == 2
    teacher, *scorers = missing(findings, "model")
    for part in (SCHNELL, "32 GiB", "apache-2.0", f"hf download {SCHNELL} --revision 741f7c3c", "'*/*.safetensors'"):
        assert part in teacher
    assert {line.partition(" at ")[0] for line in scorers} == {
        "timm/vit_large_patch14_clip_224.openai",
        "ttj/sac-logos-ava1-l14-linearMSE",
        "google/owlv2-base-patch16-ensemble",
    }
    assert "export HF_TOKEN=<your token>" in missing(findings, "token")[0]
    assert missing(findings, "recipe") == []


@pytest.mark.models
def test_easyocrs_files_are_looked_for_by_name(doctor: Doctor, bare: Path) -> None:
    settings = ["--set", "scorers.text.second=easyocr", "--set", f"scorers.text.easyocr.folder={bare}"]
    code, findings = doctor(*settings)
    assert code == 2
    said = missing(findings, "EasyOCR")[0]
    assert all(part in said for part in ("craft_mlt_25k.pth (83 MB)", "english_g2.pth (15 MB)", "english_g2.zip"))
    (bare / "craft_mlt_25k.pth").write_bytes(b"something else")
    assert "only the released file is taken" in missing(doctor(*settings)[1], "EasyOCR")[0]


def test_a_token_that_is_set_is_never_shown(ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    code, said, errors = ask("doctor", "--recipe", "flux-schnell")
    assert code == 2
    assert "a hub token is set" in said
    assert "secret" not in said + errors


def test_a_licence_that_must_be_accepted_is_named_with_the_setting(doctor: Doctor) -> None:
    _, findings = doctor("--recipe", "flux-dev")
    (said,) = missing(findings, "recipe")
    setting = "regime.accept_license=flux-1-dev-non-commercial-license"
    assert setting in said
    assert len(missing(findings, "model")) == 4  # the rest is listed all the same
    _, findings = doctor("--recipe", "flux-dev", "--set", setting)
    assert missing(findings, "recipe") == []


def test_a_wrong_setting_hides_no_other_lack(doctor: Doctor) -> None:
    code, findings = doctor(
        "--recipe", "flux-schnell", "--set", "regime.revision=main", "--set", "scorers.tecnical.a=1"
    )
    said = "\n".join(missing(findings, "recipe"))
    assert code == 2
    assert "revision is 'main'; expected the 40 hex digits" in said
    assert f"`hf models info {SCHNELL}` shows it" in said
    assert "did you mean 'technical'?" in said
    assert len(missing(findings, "model")) == 3


def test_a_recipe_that_is_none_is_said(doctor: Doctor) -> None:
    code, findings = doctor("--recipe", "flux-snell")
    assert code == 2
    assert "did you mean 'flux-schnell'?" in missing(findings, "recipe")[0]


def fetched(hub: Path, source: str, commit: str, *names: str) -> None:
    folder = hub / f"models--{source.replace('/', '--')}" / "snapshots" / commit
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("{}")


def test_a_half_fetched_model_is_told_from_one_that_is_not_there(doctor: Doctor, bare: Path) -> None:
    commit = "741f7c3ce8b383c54771c7003378a50191e9efe9"
    fetched(bare / "hub", SCHNELL, commit, "model_index.json", "transformer/config.json", "vae/a.safetensors")
    index = bare / "hub" / f"models--{SCHNELL.replace('/', '--')}" / "snapshots" / commit / "model_index.json"
    index.write_text(json.dumps({"transformer": ["diffusers", "FluxTransformer2DModel"]}))
    _, findings = doctor("--recipe", "flux-schnell")
    assert "half fetched, transformer/*.safetensors is missing" in missing(findings, "model")[0]


def test_another_revision_that_is_here_is_offered(doctor: Doctor, bare: Path) -> None:
    fetched(bare / "hub", SCHNELL, "a" * 40, "model_index.json", "vae/a.safetensors")
    _, findings = doctor("--recipe", "flux-schnell")
    assert f"here is revision {'a' * 40}" in missing(findings, "model")[0]
    _, findings = doctor("--recipe", "flux-schnell", "--set", f"regime.revision={'a' * 40}")
    assert SCHNELL in [item["said"].split(",")[0] for item in findings if item["name"] == "model" and item["ok"]]


def test_a_path_that_is_not_there_is_said(doctor: Doctor) -> None:
    _, findings = doctor("--recipe", "flux-schnell", "--set", "regime.model=./none", "--set", "regime.revision=",
                         "--set", "regime.licence=mine")  # fmt: skip
    assert "./none is not there" in "\n".join(missing(findings, "model"))


def test_an_import_without_its_pictures_is_told_how_to_begin(doctor: Doctor, bare: Path) -> None:
    code, findings = doctor("--recipe", "imported")
    assert code == 2
    assert missing(findings, "pictures") == [
        "pictures: no such file or folder; promptforge import-images PATH --licence TERMS"
    ]
    (bare / "pictures").mkdir()
    assert doctor("--recipe", "imported")[0] == 0


class Models(Silent, BaseHTTPRequestHandler):
    """A server of models; what the path begins with says how it behaves."""

    seen: list[tuple[str, str | None]] = []  # noqa: RUF012

    def do_GET(self) -> None:
        self.seen.append((self.path, self.headers.get("Authorization")))
        kind = self.path.split("/")[1]
        code = {"closed": 401, "moved": 302}.get(kind, 200)
        self.send_response(code)
        if kind == "moved":
            self.send_header("Location", "/good/v1/models")
        self.end_headers()
        body = {"good": b'{"data": [{"id": "writer"}]}', "odd": b'{"models": []}'}
        self.wfile.write(body.get(kind, b"<html>"))


@pytest.fixture
def server() -> Iterator[str]:
    Models.seen.clear()
    with serving(Models) as address:
        yield address


def asked(address: str, *more: str) -> list[str]:
    settings = [f"llm.writer={{kind = 'server', model = 'writer', base_url = '{address}'}}", *more]
    return [word for setting in settings for word in ("--set", setting)]


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("good/v1", None),
        ("closed/v1", "answers 401; check base_url, and the key"),
        ("moved/v1", "answers 302"),
        ("odd/v1", "is no list of models"),
        ("garbage/v1", "does not answer as a server of models"),
    ],
)
def test_a_server_is_asked_what_it_serves(path: str, said: str | None, server: str, doctor: Doctor) -> None:
    _, findings = doctor(*asked(f"{server}/{path}"))
    found = missing(findings, "server writer")
    assert found == [] if said is None else said in found[0]


def test_a_server_that_is_down_or_serves_another_model_is_told_how_to_start(server: str, doctor: Doctor) -> None:
    _, findings = doctor(*asked("http://127.0.0.1:9/v1"))
    assert "start it, e.g. vllm serve writer" in missing(findings, "server writer")[0]
    _, findings = doctor(*asked(f"{server}/good/v1", "llm.writer.model=other"))
    assert "serves writer, not other" in missing(findings, "server writer")[0]


def test_a_key_goes_to_the_address_of_the_recipe_and_not_where_it_is_sent_on(
    server: str, doctor: Doctor, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, findings = doctor(*asked(f"{server}/good/v1", "llm.writer.api_key_env=WRITER_KEY"))
    assert "WRITER_KEY is not set; export it" in missing(findings, "server writer")[0]
    monkeypatch.setenv("WRITER_KEY", "ses\name")
    _, findings = doctor(*asked(f"{server}/good/v1", "llm.writer.api_key_env=WRITER_KEY"))
    assert "WRITER_KEY holds characters that no key has" in missing(findings, "server writer")[0]
    monkeypatch.setenv("WRITER_KEY", "sesame")
    _, findings = doctor(*asked(f"{server}/moved/v1", "llm.writer.api_key_env=WRITER_KEY"))
    assert Models.seen == [("/moved/v1/models", "Bearer sesame")]
    assert "sesame" not in json.dumps(findings)


def test_prefects_folder_and_server_are_looked_at(doctor: Doctor, bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (bare / "file").touch()
    monkeypatch.setenv("PREFECT_HOME", str(bare / "file" / "home"))
    assert "set PREFECT_HOME to a folder of yours" in missing(doctor()[1], "Prefect")[0]
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:9/api")
    assert "start one with `promptforge serve`" in missing(doctor()[1], "Prefect")[0]


RECIPE = """
name = "own"
[[sources]]
kind = "grammar"
axis = "image_quality"
n = 4
[regime]
teacher = "diffusers"
model = "flux"
size = 64
licence = "mine"
[scorers.technical]
[scorers.alignment]
tower = "./clip"
"""


@pytest.mark.models
def test_a_machine_with_the_models_is_in_order_and_the_scorers_tests_pass(
    doctor: Doctor, bare: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from tests.tiny_models.clip import tiny_clip
    from tests.tiny_models.pipelines import tiny_flux

    tiny_flux(bare / "flux")
    tiny_clip(bare / "clip")
    (bare / "own.toml").write_text(RECIPE)
    capsys.readouterr()  # progress bars of writing the models
    code, findings = doctor("--recipe", "own.toml")
    assert code == 0, findings
    found = {item["name"]: item["said"] for item in findings}
    assert found["self-test alignment"] == "passed"
    tiny_clip(bare / "broken")
    (bare / "broken" / "open_clip_model.safetensors").write_bytes(b"broken")
    code, findings = doctor("--recipe", "own.toml", "--set", "scorers.alignment.tower=./broken")
    assert code == 2
    assert missing(findings, "self-test alignment")


def test_every_fetch_command_names_a_pinned_revision_and_its_files() -> None:
    said = weights.command("owner/name", "0" * 40, ("*.json", "*/*.txt"))
    assert said == f"hf download owner/name --revision {'0' * 40} --include '*.json' --include '*/*.txt'"
