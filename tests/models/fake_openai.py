"""A local OpenAI-compatible endpoint that does what a test tells it, turn by turn."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Turn = dict[str, Any]


def chunk(delta: dict[str, Any], finish: str | None = None) -> dict[str, Any]:
    return {
        "id": "c1",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": "fake",
        "choices": [{"index": 0, "delta": delta, "finish_reason": finish}],
    }


def says(message: str, **turn: Any) -> Turn:
    """A turn that calls send_message, word by word."""
    arguments = json.dumps({"message": message})
    middle = len(arguments) // 2
    function = {"index": 0, "id": "call_1", "type": "function", "function": {"name": "send_message", "arguments": ""}}
    parts = [{"index": 0, "function": {"arguments": a}} for a in (arguments[:middle], arguments[middle:])]
    chunks = [chunk({"role": "assistant", "tool_calls": [function]}), *(chunk({"tool_calls": [p]}) for p in parts)]
    usage = {"prompt_tokens": 1_500, "completion_tokens": 9, "total_tokens": 1_509}
    last = {**chunk({}, "tool_calls")}
    return {"chunks": [*chunks, last, {**chunk({}), "choices": [], "usage": usage}], **turn}


def writes(text: str) -> Turn:
    """A turn that writes text, line by line."""
    lines = [chunk({"content": line}) for line in text.splitlines(keepends=True)]
    return {"chunks": [chunk({"role": "assistant"}), *lines, chunk({}, "stop")]}


class FakeOpenAI:
    """`turns` in order, or what `policy` makes of each request; `requests` has the bodies that came, `paths` where to; `told` what
    other paths answer."""

    def __init__(self) -> None:
        self.turns: list[Turn] = []
        self.requests: list[dict[str, Any]] = []
        self.paths: list[str] = []
        self.url = ""
        self.models = ["fake"]
        self.told: dict[str, Any] = {}
        self.policy: Callable[[dict[str, Any]], Turn] | None = None

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        body = handler.rfile.read(int(handler.headers.get("content-length", 0)))
        if handler.path in self.told:
            self._send(handler, 200, json.dumps(self.told[handler.path]))
            return
        if handler.path.endswith("/models"):
            self._send(handler, 200, json.dumps({"data": [{"id": name} for name in self.models]}))
            return
        self.requests.append(json.loads(body))
        self.paths.append(handler.path)
        turn = self.policy(self.requests[-1]) if self.policy else self.turns.pop(0)
        time.sleep(turn.get("wait", 0))
        if "status" in turn:
            self._send(handler, turn["status"], turn.get("body", "{}"), turn.get("headers", {}))
            return
        if "html" in turn:
            self._send(handler, 200, turn["html"], {"content-type": "text/html"})
            return
        if "lines" in turn:
            lines = "".join(f"{json.dumps(line)}\n" for line in turn["lines"])
            self._send(handler, 200, lines, {"content-type": "application/x-ndjson"})
            return
        handler.send_response(200)
        handler.send_header("content-type", "text/event-stream")
        handler.end_headers()
        chunks = turn["chunks"]
        for part in chunks[: turn.get("cut", len(chunks))]:
            handler.wfile.write(f"data: {json.dumps(part)}\n\n".encode())
            handler.wfile.flush()
        if "cut" not in turn:
            handler.wfile.write(b"data: [DONE]\n\n")

    @staticmethod
    def _send(handler: BaseHTTPRequestHandler, status: int, body: str, headers: dict[str, str] | None = None) -> None:
        handler.send_response(status)
        for name, value in {"content-type": "application/json", **(headers or {})}.items():
            handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(body.encode())


@contextmanager
def fake_openai() -> Iterator[FakeOpenAI]:
    fake = FakeOpenAI()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            fake.answer(self)

        def do_GET(self) -> None:
            if self.path.endswith("/models") or self.path in fake.told:
                fake.answer(self)
            else:
                self.send_error(404)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    fake.url = f"http://127.0.0.1:{server.server_port}/v1"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield fake
    finally:
        server.shutdown()
        server.server_close()
