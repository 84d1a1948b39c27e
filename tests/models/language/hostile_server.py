"""An OpenAI-compatible server on loopback that behaves as each prompt tells it to; run as a program by the tests.

The user message is a JSON object: {"id": ..., "do": [[behaviour, argument], ...]}. Try number k behaves as do[k], the
last one for every later try; without "do" it answers well. Anything else in the user message is the control request,
which behaves as POST /control told. GET /stats tells what was seen, GET /forget forgets it. The port is the first line
of stdout.
"""

import asyncio
import json
import socket
import struct
import sys
import time

CHUNK = {"id": "x", "object": "chat.completion.chunk", "created": 1, "model": "tiny"}


class Server:
    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        self.tries: dict[str, int] = {}
        self.seen: list[dict] = []
        self.open = self.most = 0
        self.control: list = [["well"]]

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
            headers = {k.lower(): v.strip() for k, _, v in (line.partition(":") for line in head[1:] if line)}
            body = await reader.readexactly(int(headers.get("content-length", 0)))
            path = head[0].split()[1]
            if path == "/health":
                plain(writer, 200, b"{}")
            elif path == "/stats":
                stats = {"open": self.open, "most": self.most, "seen": self.seen}
                plain(writer, 200, json.dumps(stats).encode())
            elif path == "/forget":
                self.forget()
                plain(writer, 200, b"{}")
            elif path == "/control":
                self.control = json.loads(body)
                plain(writer, 200, b"{}")
            elif path == "/v1/chat/completions":
                await self.chat(reader, writer, headers, json.loads(body))
            else:
                plain(writer, 404, b'{"error": {"message": "no such page"}}')
            await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    async def chat(self, reader, writer, headers: dict, body: dict) -> None:
        content = body["messages"][-1]["content"]
        text = content if isinstance(content, str) else content[-1]["text"]
        try:
            told = json.loads(text)
        except ValueError:
            told = {"id": "control", "do": self.control}
        name, steps = told["id"], told.get("do", [["well"]])
        number = self.tries.get(name, 0)
        self.tries[name] = number + 1
        do, *argument = steps[min(number, len(steps) - 1)]
        entry = {"id": name, "at": time.monotonic(), "body": body, "headers": headers, "ended": None}
        self.seen.append(entry)
        seen, self.open = self.seen, self.open + 1
        self.most = max(self.most, self.open)
        answer = asyncio.create_task(getattr(Behaviour(writer, name), do)(*argument))
        gone = asyncio.create_task(reader.read(1))  # the client says no more, so this ends when it hangs up
        try:
            await asyncio.wait({answer, gone}, return_when=asyncio.FIRST_COMPLETED)
            entry["ended"] = "answered" if answer.done() else "hung up"
            if answer.done():
                answer.result()
        finally:
            if seen is self.seen:  # else forgotten since
                self.open -= 1
            answer.cancel()
            gone.cancel()


def plain(writer, status: int, body: bytes, kind: str = "application/json", **headers: str) -> None:
    lines = [f"HTTP/1.1 {status} X", f"content-type: {kind}", f"content-length: {len(body)}", "connection: close"]
    lines += [f"{key.replace('_', '-')}: {value}" for key, value in headers.items()]
    writer.write("\r\n".join([*lines, "", ""]).encode() + body)


class Behaviour:
    def __init__(self, writer, name: str) -> None:
        self.writer, self.name = writer, name

    # -- parts -------------------------------------------------------------------------------------------------
    def start(self, kind: str = "text/event-stream; charset=utf-8") -> None:
        self.writer.write(f"HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\nconnection: close\r\n\r\n".encode())

    async def event(self, data) -> None:
        said = data if isinstance(data, str) else json.dumps(data)
        self.writer.write(f"data: {said}\n\n".encode())
        await self.writer.drain()

    async def piece(self, text: str, finish: str | None = None, **delta) -> None:
        choice = {"index": 0, "delta": {"content": text, **delta}, "finish_reason": finish}
        await self.event({**CHUNK, "choices": [choice]})

    async def end(self, finish: str = "stop") -> None:
        await self.piece("", finish)
        await self.event({**CHUNK, "choices": [], "usage": {"prompt_tokens": 7, "completion_tokens": 3}})
        await self.event("[DONE]")

    # -- behaviours --------------------------------------------------------------------------------------------
    async def well(self, text: str | None = None) -> None:
        self.start()
        said = json.dumps({"answer": self.name}) if text is None else text
        for start in range(0, len(said), 4):
            await self.piece(said[start : start + 4])
        await self.end()

    async def slowly(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
        await self.well()

    async def late(self, seconds: float) -> None:  # headers and keep-alive comments at once, the first token late
        self.start()
        for _ in range(int(seconds / 0.1)):
            self.writer.write(b": ping\n\n")
            await asyncio.sleep(0.1)
        for letter in "{}":
            await self.piece(letter)
        await self.end()

    async def trickle(self, gap_s: float) -> None:  # one character of an endless answer every gap_s
        self.start()
        while True:
            await self.piece("a")
            await asyncio.sleep(gap_s)

    async def silent(self) -> None:  # begins, then keeps the connection open with comments
        self.start()
        await self.piece("begins well ")
        while True:
            self.writer.write(b": ping\n\n")
            await self.writer.drain()
            await asyncio.sleep(0.05)

    async def status(self, code: int, headers: dict | None = None, message: str = "no") -> None:
        plain(self.writer, code, json.dumps({"error": {"message": message}}).encode(), **(headers or {}))

    async def echo_key(self, code: int, key: str) -> None:
        await self.status(code, {}, f"Incorrect API key provided: {key}")

    async def garbage(self) -> None:
        self.start()
        self.writer.write(b"data: \xff\xfe\x00{{{ not json\n\n")

    async def bad_gzip(self) -> None:
        self.start("text/event-stream\r\ncontent-encoding: gzip")
        self.writer.write(b"data: this was never compressed\n\n")

    async def bad_head(self) -> None:
        self.writer.write(b"HTTP/9.9 what\r\n\r\n")

    async def odd_json(self) -> None:
        self.start()
        await self.event([1, 2, 3])

    async def half_json(self) -> None:
        self.start()
        await self.piece("{")
        self.writer.write(b'data: {"id": "x", "choices": [{"ind')

    async def cut(self) -> None:  # ends cleanly in the middle
        self.start()
        await self.piece("half an ans")

    async def reset(self) -> None:
        self.start()
        await self.piece("half an ans")
        await asyncio.sleep(0.05)
        linger = struct.pack("ii", 1, 0)  # no lingering: closing sends a reset
        self.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self.writer.transport.abort()

    async def two_choices(self) -> None:
        self.start()
        choices = [{"index": n, "delta": {"content": "x"}, "finish_reason": None} for n in (0, 1)]
        await self.event({**CHUNK, "choices": choices})
        await self.end()

    async def no_choices(self) -> None:
        self.start()
        await self.event({**CHUNK, "choices": []})
        await self.event("[DONE]")

    async def page(self) -> None:
        plain(self.writer, 200, b"<html>please log in</html>", "text/html")

    async def endless(self) -> None:
        self.start()
        while True:
            await self.piece("a" * 4000)

    async def error_inside(self, code: int) -> None:
        self.start()
        await self.piece("half")
        await self.event({"error": {"message": "the engine is dead", "code": code}})

    async def no_usage(self) -> None:
        self.start()
        await self.piece("{}", "stop")
        await self.event("[DONE]")

    async def no_end_mark(self) -> None:  # a whole answer, then neither usage nor the end of the stream
        self.start()
        await self.piece("{}", "stop")
        await asyncio.sleep(60)

    async def finish(self, reason: str) -> None:
        self.start()
        await self.piece('{"a')
        await self.end(reason)

    async def refuse(self) -> None:
        self.start()
        await self.piece("", None, refusal="I will not")
        await self.end()

    async def think(self) -> None:  # reasons at a good pace before it answers
        self.start()
        for _ in range(20):
            await self.piece("", None, reasoning_content="thinking hard ")
            await asyncio.sleep(0.05)
        await self.piece("{}")
        await self.end()

    async def halves(self) -> None:  # one character in two pieces, and a lone half
        self.start()
        await self.piece("\ud83d")
        await self.piece("\ude00 \ud83d")
        await self.end()


async def main() -> None:
    server = await asyncio.start_server(Server().serve, "127.0.0.1", 0, limit=2**24, backlog=512)
    sys.stdout.write(f"{server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
