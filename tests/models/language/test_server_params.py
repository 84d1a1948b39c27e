"""What a recipe may say about a language model, what of it names the answers; needs no model library."""

from datetime import UTC, datetime

import numpy as np
import pytest
from pydantic import ValidationError

from promptforge.errors import EnvironmentFault
from promptforge.faults import explain
from promptforge.models.language import server, vllm
from promptforge.models.language.wire.chat import control, one_line, picture_url, whole_characters
from promptforge.models.language.wire.stream import retry_after
from promptforge.protocols import Request

BASE = {"base_url": "http://127.0.0.1:8000/v1", "model": "tiny"}
REVISION = "0123456789abcdef0123456789abcdef01234567"


def faults(module, **params) -> list[str]:
    with pytest.raises(ValidationError) as caught:
        module.Params.model_validate(params)
    return explain(caught.value, module.Params, "mini.toml", "llm.writer").splitlines()


@pytest.mark.parametrize(
    "address",
    [
        "ftp://host/v1",
        "127.0.0.1:8000",
        "http://",
        "file:///etc/passwd",
        "http://host:port/v1",
        "http://a b/",
        "http://[::1",
    ],
)
def test_an_address_that_is_none_is_refused(address):
    (line,) = faults(server, base_url=address, model="tiny")
    assert line == (
        f"mini.toml: llm.writer.base_url: is {address!r}; expected http:// or https:// and a host, such as"
        " http://127.0.0.1:8000/v1"
    )


@pytest.mark.parametrize(
    "address",
    [
        "http://me:secret@host/v1",
        "http://host/v1?key=secret",
        "http://host/v1#secret",
        "ftp://me:secret@host/v1",
        "http://me:secret@/v1",
        "http://me:secret@host:port/v1",
    ],
)
def test_a_secret_in_the_address_is_refused_and_not_repeated(address):
    (line,) = faults(server, base_url=address, model="tiny")
    assert "secret" not in line
    assert "expected the bare address, the key in api_key_env" in line


@pytest.mark.parametrize("key", ["sk-proj-secret", "gsk_secret0", "hf_secret"])
def test_a_key_in_place_of_its_variable_is_refused_and_not_repeated(key):
    (line,) = faults(server, **BASE, api_key_env=key)
    assert "secret" not in line
    assert "a key never stands in a recipe" in line


@pytest.mark.parametrize(
    "body",
    [{"api_key": "s3"}, {"Authorization": "s3"}, {"more": [{"x": {"access_token": "s3"}}]}, {"db_password": "s3"}],
)
def test_a_secret_among_the_fields_of_the_body_is_refused_and_not_repeated(body):
    (line,) = faults(server, **BASE, extra_body=body)
    assert "a recipe holds no secrets" in line
    assert "s3" not in line


def test_each_fault_is_one_line():
    lines = faults(server, base_url="x", concurrency=0, temprature=1, top_p=0, extra_body={"seed": 1})
    assert [line.split(": ")[1] for line in lines] == [
        "llm.writer.top_p",
        "llm.writer.base_url",
        "llm.writer.model",
        "llm.writer.concurrency",
        "llm.writer.extra_body",
        "llm.writer.temprature",
    ]


def test_what_json_cannot_hold_is_refused_in_the_body():
    assert "JSON has not" in faults(server, **BASE, extra_body={"x": {"y": float("nan")}})[0]


def test_a_missing_key_is_named_by_its_variable(monkeypatch):
    monkeypatch.delenv("TINY_KEY", raising=False)
    with pytest.raises(EnvironmentFault, match="TINY_KEY is not set"):
        server.build(server.Params(**BASE, api_key_env="TINY_KEY"))


def test_answers_are_named_by_what_decides_them_and_not_by_where_or_how_fast_they_came():
    here = server.identity(server.Params(**BASE))
    moved = BASE | {"base_url": "https://elsewhere.example/v1"}
    patient = {"concurrency": 7, "stall_s": 9, "max_retries": 1, "price_in": 2, "api_key_env": "KEY", "answer_s": 8}
    assert server.identity(server.Params(**moved, **patient)) == here
    for change in (
        {"model": "other"},
        {"revision": "v2"},
        {"top_k": 3},
        {"structure": "structured_outputs"},
        {"extra_body": {"a": 1}},
    ):
        assert server.identity(server.Params(**(BASE | change))) != here, change


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "7"}, 7),
        ({"retry-after": "0.5"}, 0.5),
        ({"retry-after-ms": "250", "retry-after": "7"}, 0.25),
        ({"retry-after": "Wed, 21 Oct 2026 07:28:30 GMT"}, 30),
        ({"retry-after": "Wed, 21 Oct 2026 07:27:00 GMT"}, 0),
        ({"retry-after": "-3"}, 0),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "inf"}, None),
        ({}, None),
    ],
)
def test_retry_after_is_read_in_every_form(headers, seconds):
    assert retry_after(headers, datetime(2026, 10, 21, 7, 28, tzinfo=UTC)) == seconds


def test_the_control_request_keeps_schema_and_bounds_and_forgets_the_row():
    request = Request("t", "v", "s", "sys", "row text", {"type": "object"}, np.zeros((9, 9, 3), np.uint8), 77, 0.5, 3)
    plain = control(request)
    assert (plain.schema, plain.max_tokens, plain.temperature) == ({"type": "object"}, 77, 0.5)
    assert "row text" not in plain.user + plain.system
    assert plain.picture is not None
    assert plain.picture.min() == 255
    assert control(Request("t", "v", "s", "", "row", {})).picture is None


def test_a_picture_is_a_data_url():
    assert picture_url(np.zeros((2, 2, 3), np.uint8)).startswith("data:image/png;base64,iVBORw0KGgo")  # the PNG mark


def test_text_is_made_fit_to_be_stored():
    assert whole_characters("a\ud83d\ude00b\ud83d") == "a\U0001f600b\ufffd"
    assert whole_characters("é\U0001f600") == "é\U0001f600"
    assert one_line("a\n\x1b[31mb\t c", 6) == "a [31m..."


@pytest.mark.parametrize(
    ("params", "said"),
    [
        ({"model": "owner/name"}, "revision is None; expected the 40 hex digits"),
        ({"model": "owner/name", "revision": "main"}, "revision is 'main'; expected the 40 hex digits"),
        ({"model": "/models/tiny", "revision": REVISION}, "is a path, which has no revision"),
        ({"model": "a b"}, "neither a path nor a hub id"),
        ({"model": "owner/name", "revision": REVISION, "dtype": "int3"}, "'auto', 'bfloat16', 'float16' or 'float32'"),
        ({"model": "owner/name", "revision": REVISION, "gpu_memory_utilization": 1.5}, "less than or equal to 1"),
    ],
)
def test_a_model_in_process_is_pinned_and_its_settings_checked(params, said):
    (line,) = faults(vllm, **params)
    assert said in line


def test_memory_and_accelerators_do_not_name_the_answers_of_a_model_in_process():
    one = {"model": "owner/name", "revision": REVISION}
    here = vllm.identity(vllm.Params(**one))
    assert here["weights"] == {"repository": "owner/name", "revision": REVISION}
    frugal = {"gpu_memory_utilization": 0.4, "tensor_parallel": 2, "enforce_eager": True, "in_flight": 3}
    assert vllm.identity(vllm.Params(**one, **frugal)) == here
    for change in ({"dtype": "float32"}, {"backend": "xgrammar"}, {"top_p": 0.5}, {"max_model_len": 99}):
        assert vllm.identity(vllm.Params(**one, **change)) != here


def test_without_vllm_the_remedy_is_named(monkeypatch):
    monkeypatch.setattr(vllm, "find_spec", lambda name: None)
    with pytest.raises(EnvironmentFault, match="environment of its own"):
        vllm.build(vllm.Params(model="owner/name", revision=REVISION))
