"""vLLM for real, in process and as a server: a Llama of random weights whose answers its JSON schema alone shapes.

In an environment of its own: vLLM's versions and Prefect's do not go together. The server needs over a minute to start
on a CPU.
"""

import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from promptforge.errors import EnvironmentFault
from promptforge.models.language import server, vllm
from promptforge.protocols import Request

pytestmark = [
    pytest.mark.vllm,
    pytest.mark.skipif(
        find_spec("vllm") is None, reason="vllm is not installed here; it has an environment of its own"
    ),
    # vLLM and what it imports warn of their own deprecations, other ones with each version.
    pytest.mark.filterwarnings("ignore"),
]

OFFLINE = {"HF_HUB_OFFLINE": "1", "VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1", "VLLM_CPU_KVCACHE_SPACE": "1"}
TEMPLATE = "{% for m in messages %}<{{ m.role }}>{{ m.content }}\n{% endfor %}<assistant>"
# Every field bounded: a random model never ends a string by itself.
SCHEMA = {
    "type": "object",
    "properties": {
        "visual": {"type": "boolean"},
        "axis": {"enum": ["image_quality", "semantic_understanding", "text_rendering"]},
        "words": {"type": "array", "items": {"type": "string", "maxLength": 6}, "minItems": 1, "maxItems": 2},
    },
    "required": ["visual", "axis", "words"],
    "additionalProperties": False,
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Llama of 260 bytes and marks, 128 wide, two layers deep, as safetensors."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    path = tmp_path_factory.mktemp("tiny-llama")
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    marks = ["<s>", "</s>", "<pad>", "<unk>"]
    tokenizer = Tokenizer(models.BPE(vocab={t: n for n, t in enumerate([*marks, *alphabet])}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", pad_token="<pad>", unk_token="<unk>"
    )
    fast.chat_template = TEMPLATE
    fast.save_pretrained(path)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=260,
        hidden_size=128,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
        max_position_embeddings=512,
        bos_token_id=0,
        eos_token_id=1,
        pad_token_id=2,
    )
    LlamaForCausalLM(config).to(torch.float32).save_pretrained(path)
    return path


@pytest.fixture(scope="module")
def engine(folder: Path) -> Iterator[vllm.Vllm]:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in OFFLINE.items():
            patch.setenv(name, value)
        params = vllm.Params(model=str(folder), dtype="float32", enforce_eager=True, in_flight=8)
        yield vllm.build(params)


def ask(number: int) -> Request:
    text = f"Is prompt {number} visual?"
    return Request("judge", "v", f"row {number}", "Judge.", text, SCHEMA, max_tokens=200, temperature=0.0, seed=number)


def answered(model, requests) -> dict:
    """Place -> completion; a second without any says nothing."""
    return dict(filter(None, model.complete(requests)))


def check(text: str) -> None:
    import jsonschema

    jsonschema.validate(json.loads(text), SCHEMA)


def test_every_answer_meets_the_schema_and_its_tokens_are_counted(engine, folder):
    from transformers import AutoTokenizer

    requests = [ask(number) for number in range(40)]
    got = answered(engine, requests)
    assert sorted(got) == [*range(40)]
    tokenizer = AutoTokenizer.from_pretrained(folder)
    for request, answer in zip(requests, (got[n] for n in range(40)), strict=True):
        assert (answer.error, answer.finish) == (None, "stop")
        check(answer.text)
        prompt = f"<system>Judge.\n<user>{request.user}\n<assistant>"
        assert answer.n_tokens_in == len(tokenizer(prompt, add_special_tokens=False).input_ids)
        # A byte a token, and the end mark.
        assert answer.n_tokens_out == len(answer.text.encode()) + 1


def test_the_same_request_has_the_same_answer_after_a_sleep(engine):
    hot = [replace(ask(number), temperature=1.0) for number in range(4)]
    first = answered(engine, hot)
    engine.sleep()
    assert answered(engine, hot) == first
    assert len({each.text for each in first.values()}) > 1, "the seed reaches the sampler"


def test_a_request_that_is_too_long_is_the_row_s_error(engine):
    got = answered(engine, [ask(1), replace(ask(2), user="x" * 600), ask(3)])
    assert (got[0].error, got[2].error) == (None, None)
    assert "512" in got[1].error
    assert (got[1].text, got[1].finish) == ("", "error")


def test_an_answer_that_is_cut_says_so(engine):
    got = answered(engine, [replace(ask(1), max_tokens=5)])[0]
    assert (got.finish, got.n_tokens_out, got.error) == ("length", 5, None)


def test_a_model_that_cannot_see_is_no_fault_of_the_row(engine):
    picture = np.zeros((32, 32, 3), dtype=np.uint8)
    with pytest.raises(EnvironmentFault, match="takes no request"):
        list(engine.complete([replace(ask(1), picture=picture)]))


def test_closing_early_leaves_the_engine_fit(engine):
    answers = engine.complete([ask(number) for number in range(20)])
    while next(answers) is None:
        pass
    answers.close()
    got = answered(engine, [ask(99)])
    assert [*got] == [0]
    check(got[0].text)


def test_an_engine_that_dies_loses_nothing_that_was_done_and_is_loaded_anew(engine, monkeypatch):
    import psutil

    monkeypatch.setenv("VLLM_ENABLE_V1_MULTIPROCESSING", "1")  # the engine as a process of its own, to be killed
    here = psutil.Process()
    before = set(here.children(recursive=True))
    mortal = vllm.Vllm(engine._params.model_copy(update={"stall_s": 20}), engine._folder)
    requests = [ask(number) for number in range(30)]
    got = {}
    with pytest.raises(EnvironmentFault, match=r"vLLM died while it answered .*then run again"):
        for place, answer in filter(None, mortal.complete(requests)):
            got[place] = answer
            if len(got) == 5:
                for child in set(here.children(recursive=True)) - before:
                    child.kill()
    assert 5 <= len(got) < 30
    for answer in got.values():
        check(answer.text)
    assert answered(mortal, requests[:2]) == answered(engine, requests[:2])


def test_weights_that_are_pickles_are_refused(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "pytorch_model.bin").write_bytes(b"x")
    with pytest.raises(EnvironmentFault, match=r"pytorch_model\.bin, which can run code"):
        vllm.build(vllm.Params(model=str(tmp_path)))


@pytest.fixture(scope="module")
def address(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--model", str(folder)]
    command += ["--served-model-name", "tiny", "--host", "127.0.0.1", "--port", str(port), "--dtype", "float32"]
    command += ["--enforce-eager", "--generation-config", "vllm", "--structured-outputs-config"]
    command += [json.dumps({"backend": "guidance", "disable_any_whitespace": True})]
    log = tmp_path_factory.mktemp("vllm") / "server.log"
    with log.open("wb") as file:
        process = subprocess.Popen(
            command, stdout=file, stderr=subprocess.STDOUT, env={**os.environ, **OFFLINE}, start_new_session=True
        )
    try:
        deadline = time.monotonic() + 300
        while not _is_up(port):
            assert process.poll() is None, log.read_text()[-3000:]
            assert time.monotonic() < deadline, log.read_text()[-3000:]
            time.sleep(1)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _is_up(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5) as answer:
            return answer.status == 200
    except OSError:
        return False


@pytest.mark.parametrize("structure", ["response_format", "structured_outputs"])
def test_the_server_s_answers_meet_the_schema_and_are_those_of_the_engine(address, engine, structure):
    model = server.build(server.Params(base_url=address, model="tiny", structure=structure, concurrency=4))
    requests = [ask(number) for number in range(6)]
    got = answered(model, requests)
    for answer in got.values():
        assert (answer.error, answer.finish) == (None, "stop")
        check(answer.text)
    assert got == answered(engine, requests)


def test_the_server_s_word_on_a_row_and_on_a_model_are_told_apart(address):
    model = server.build(server.Params(base_url=address, model="tiny", max_retries=1))
    got = answered(model, [replace(ask(1), user="x" * 600), ask(2)])
    assert got[0].error.startswith("HTTP 400: ")
    check(got[1].text)
    other = server.build(server.Params(base_url=address, model="other", max_retries=1))
    with pytest.raises(EnvironmentFault, match=r"HTTP 404: .*other.*; check base_url"):
        list(other.complete([ask(1)]))
