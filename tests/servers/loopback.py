"""A server on 127.0.0.1 whose answers, and faults, a test scripts."""

import threading
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Answer:
    """One response.

    Attributes:
        headers: a header that is None is left out.
        cut_at: send the headers of the whole body, then this many bytes of it, then close the connection.
        stall: seconds of silence before anything is sent.
    """

    status: int = 200
    body: bytes = b""
    headers: dict[str, str | None] = field(default_factory=dict)
    cut_at: int | None = None
    stall: float = 0.0


@dataclass
class Request:
    method: str
    path: str
    headers: dict[str, str]
    body: bytes


class Loopback:
    """The base of both servers: it records requests and plays scripted faults before it answers properly.

    Attributes:
        requests: what came in, in order.
        faults: per kind of request, answers that go out first, each once; None lets one proper answer through.
    """

    def __init__(self):
        self.requests: list[Request] = []
        self.faults: dict[str, list[Answer | None]] = defaultdict(list)
        self.url = ""
        self.stopped = threading.Event()

    def answer(self, request: Request) -> Answer:
        raise NotImplementedError

    def fault(self, kind: str) -> Answer | None:
        return self.faults[kind].pop(0) if self.faults[kind] else None

    def or_fault(self, kind: str, answer: Answer) -> Answer:
        """The next fault of this kind in place of `answer`; a cut is one of the proper answer."""
        fault = self.fault(kind)
        if fault is not None and fault.cut_at is None:
            return fault
        answer.cut_at = fault.cut_at if fault else answer.cut_at
        return answer

    @contextmanager
    def running(self) -> Iterator["Loopback"]:
        owner = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_):
                pass

            def handle_any(self):
                length = int(self.headers.get("Content-Length") or 0)
                headers = {name.lower(): value for name, value in self.headers.items()}
                request = Request(self.command, self.path, headers, self.rfile.read(length))
                owner.requests.append(request)
                answer = owner.answer(request)
                if answer.stall:
                    owner.stopped.wait(answer.stall)
                self.send_response(answer.status)
                headers = {"Content-Length": str(len(answer.body))} | answer.headers
                for name, value in headers.items():
                    if value is not None:
                        self.send_header(name, value)
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(answer.body[: answer.cut_at])
                if answer.cut_at is not None or headers["Content-Length"] is None:
                    self.close_connection = True

            do_GET = do_HEAD = do_POST = do_PUT = handle_any

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *_):  # a client that goes away is part of the tests
                pass

        server = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        try:
            yield self
        finally:
            self.stopped.set()
            server.shutdown()
            server.server_close()
            thread.join()


def ranged(body: bytes, headers: dict[str, str], request: Request, etag: str) -> Answer:
    """The whole body, or the rest of it where the request asks for one and the body is still the same."""
    headers = {"ETag": etag, "Accept-Ranges": "bytes"} | headers
    wanted = request.headers.get("range")
    if not wanted or request.headers.get("if-range", etag) != etag:
        return Answer(200, body, headers)
    start = int(wanted.removeprefix("bytes=").split("-")[0])
    if start >= len(body):
        return Answer(416, b"", headers)
    content_range = f"bytes {start}-{len(body) - 1}/{len(body)}"
    return Answer(206, body[start:], headers | {"Content-Range": content_range})
