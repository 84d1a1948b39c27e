"""An OpenAI-compatible server on loopback that answers every task of ours by rule; run as a program by the tests.

What it answers follows from the request's data (and picture) alone. GET /stats tells how often each task was asked and
what pictures came, POST /control sets {"die_after": n} (SIGKILL to itself when request n + 1 comes). The port is the
first line of stdout.
"""

import asyncio
import base64
import hashlib
import io
import json
import os
import signal
import sys
from collections import Counter

import numpy as np
from PIL import Image

THINGS = ("cup", "chair", "lamp", "dog", "cat", "apple", "ball", "boat", "bicycle", "table", "horse", "umbrella")
COLOURS = ("red", "blue", "green", "white", "black", "yellow", "purple", "orange")
WORDS = ("Open", "Closed", "Sale", "Menu", "Exit", "Welcome")


def drawn(*parts) -> int:
    """A number that follows from the parts."""
    return int.from_bytes(hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).digest()[:6], "big")


def invented(data: dict, number: int) -> str:
    """Prompts that no two requests with other data share, but by chance of one in some hundred thousand."""
    number = drawn(data, number)
    picks = []
    for names in (COLOURS, THINGS, COLOURS, THINGS):
        number, place = divmod(number, len(names))
        picks.append(names[place])
    return f"a {picks[0]} {picks[1]} beside a {picks[2]} {picks[3]} number {number % 1000}"


def judged(text: str) -> dict:
    axis = "text_rendering" if '"' in text else "semantic_understanding"
    return {
        "visual": 1 if "essay" in text else 9,
        "axis": axis,
        "safety": "violence" if "gore" in text else "ok",
    }


def parsed(text: str) -> list[dict]:
    """A thing, named by the prompt's last word, and that it is bright."""
    noun = [word for word in text.replace('"', " ").replace(",", " ").split() if word.isalpha()][-1].lower()
    about = {"noun": noun, "value": "", "other": "", "requires": []}
    return [
        {**about, "id": 1, "kind": "object", "text": f"Is there a {noun}?"},
        {**about, "id": 2, "kind": "attribute", "text": f"Is the {noun} bright?", "value": "bright", "requires": [1]},
    ]


def seen(picture: str, text: str) -> str:
    """yes, no or unclear; `picture` is the SHA-256 of its RGB bytes."""
    return ("yes", "no", "unclear", "yes")[drawn(picture, text) % 4]


def answer(task: str, schema: dict, data: dict, picture: str | None) -> dict:
    if task == "invent":
        texts = [invented(data, number) for number in range(data["count"])]
        if schema["properties"]["prompts"]["items"]["type"] == "string":
            return {"prompts": texts}
        words = [WORDS[drawn(data, "word", number) % len(WORDS)] for number in range(data["count"])]
        signs = [f'{text} with a sign that says "{word}"' for text, word in zip(texts, words, strict=True)]
        return {"prompts": [{"prompt": sign, "strings": [word]} for sign, word in zip(signs, words, strict=True)]}
    if task == "rewrite":
        return {"prompts": [f"{data['prompt']}, in soft light of a late afternoon"] * data["count"]}
    if task == "judge":
        return judged(data["prompt"])
    if task == "parse":
        return {"questions": parsed(data["prompt"])}
    if task == "answer":
        assert picture is not None
        return {name: seen(picture, text) for name, text in data.items()}
    raise AssertionError(task)


class Server:
    def __init__(self) -> None:
        self.asked: Counter[str] = Counter()
        self.pictures: Counter[str] = Counter()
        self.die_after: int | None = None

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
            headers = {k.lower(): v.strip() for k, _, v in (line.partition(":") for line in head[1:] if line)}
            body = await reader.readexactly(int(headers.get("content-length", 0)))
            path = head[0].split()[1]
            if path == "/stats":
                self.plain(writer, {"asked": self.asked, "pictures": self.pictures})
            elif path == "/control":
                self.die_after = json.loads(body)["die_after"] + self.asked.total()
                self.plain(writer, {})
            else:
                assert path == "/v1/chat/completions", path
                self.stream(writer, json.loads(body))
            await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    @staticmethod
    def plain(writer, body: dict) -> None:
        data = json.dumps(body).encode()
        writer.write(
            b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\n"
            + f"content-length: {len(data)}\r\n\r\n".encode()
            + data
        )

    def stream(self, writer, body: dict) -> None:
        if self.die_after is not None and self.asked.total() >= self.die_after:
            os.kill(os.getpid(), signal.SIGKILL)
        form = body["response_format"]["json_schema"]
        content = body["messages"][-1]["content"]
        picture = None
        if not isinstance(content, str):
            kind, _, data = content[0]["image_url"]["url"].partition(";base64,")
            assert kind == "data:image/png"
            pixels = np.asarray(Image.open(io.BytesIO(base64.b64decode(data))))
            picture = hashlib.sha256(pixels.tobytes()).hexdigest()
            self.pictures[picture] += 1
            content = content[1]["text"]
        data = json.loads(content.split("<<<DATA\n")[1].split("\nDATA>>>")[0])
        self.asked[form["name"]] += 1
        said = json.dumps(answer(form["name"], form["schema"], data, picture))
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n")
        for start in range(0, len(said), 16):
            self.event(writer, [{"index": 0, "delta": {"content": said[start : start + 16]}, "finish_reason": None}])
        self.event(writer, [{"index": 0, "delta": {}, "finish_reason": "stop"}])
        self.event(writer, [], usage={"prompt_tokens": 100, "completion_tokens": 10})
        writer.write(b"data: [DONE]\n\n")

    @staticmethod
    def event(writer, choices: list, **more) -> None:
        chunk = {"id": "x", "object": "chat.completion.chunk", "created": 1, "model": "tiny", "choices": choices}
        writer.write(f"data: {json.dumps(chunk | more)}\n\n".encode())


async def main() -> None:
    server = await asyncio.start_server(Server().serve, "127.0.0.1", 0, limit=2**24, backlog=512)
    sys.stdout.write(f"{server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
