"""HTTP server of `trueslice serve`, on the loopback address, based on the standard library's server.

Any web page in the user's browser can send requests to the loopback address. So a request must name a loopback host,
since a foreign name can be made to point here (DNS rebinding), and a POST must come from this page. Nothing is written
to the disk, and no request is logged.
"""

import errno
import json
import re
import socket
import sys
from collections.abc import Mapping
from contextlib import suppress
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from socketserver import TCPServer
from typing import TYPE_CHECKING
from urllib.parse import SplitResult, parse_qs, urlsplit

from trueslice.errors import UserError
from trueslice.serve.refused import Refused

if TYPE_CHECKING:
    from trueslice.serve.answers import Answers  # imports PyTorch, which takes seconds

ADDRESS = "127.0.0.1"
HOSTS = (ADDRESS, "localhost", "::1")  # the last one for a tunnel from another machine
LIMIT = 100 * 2**20  # bytes, largest file
PATIENCE = 30  # seconds of silence after which a connection is closed
# After a refusal: seconds to wait for the sender, and blocks of 64 kB to read from it.
LINGER = 2
LINGER_READS = 64
FILES = {
    "/": ("page.html", "text/html; charset=utf-8"),
    "/page.css": ("page.css", "text/css; charset=utf-8"),
    "/page.js": ("page.js", "text/javascript; charset=utf-8"),
}
HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


class Server(ThreadingHTTPServer):
    """Server that listens from the start, so that a port in use is reported before a model is loaded.

    `port` is of 127.0.0.1; 0 takes a free one. UserError if it cannot be taken.
    """

    daemon_threads = True
    answers: "Answers"

    def __init__(self, port: int):
        try:
            super().__init__((ADDRESS, port), Handler)
        except OSError as error:
            is_taken = error.errno == errno.EADDRINUSE
            problem = "is in use by another program" if is_taken else f"cannot be taken: {error.strerror}"
            raise UserError(f"port {port} {problem}; give another one by --port") from None

    def server_bind(self) -> None:
        """Bind without looking up a name for the address on the network, as HTTPServer would."""
        TCPServer.server_bind(self)
        self.server_name, self.server_port = ADDRESS, self.socket.getsockname()[1]

    def handle_error(self, request, client_address) -> None:
        """Print a traceback, unless the browser closed the connection."""
        if not isinstance(sys.exception(), (ConnectionError, TimeoutError)):
            super().handle_error(request, client_address)


class Handler(BaseHTTPRequestHandler):
    """Handler of one connection."""

    server: Server
    protocol_version = "HTTP/1.1"
    timeout = PATIENCE

    def do_GET(self) -> None:
        self._answer(self._get)

    def do_POST(self) -> None:
        self._answer(self._post)

    def log_message(self, *_) -> None:
        """Log nothing."""

    def version_string(self) -> str:
        return "trueslice"  # without versions

    def _answer(self, respond) -> None:
        try:
            self._check_host()
            url = _split(self.path)
            respond(url.path, {name: values[0] for name, values in parse_qs(url.query).items()})
        except Refused as error:
            self._refuse(error)
        except ConnectionError:
            raise
        except Exception:
            self._refuse(Refused("the server failed; the terminal says why", HTTPStatus.INTERNAL_SERVER_ERROR))
            raise

    def _get(self, path: str, query: Mapping[str, str]) -> None:
        if path in FILES:
            name, kind = FILES[path]
            self._send(Path(__file__).with_name(name).read_bytes(), kind)
        elif path == "/model":
            self._send_json({"limit": LIMIT} | self.server.answers.about())
        elif path == "/test-scans":
            self._send_json({"scans": self.server.answers.test_scans(query.get("class"))})
        else:
            raise Refused("there is nothing here", HTTPStatus.NOT_FOUND)

    def _post(self, path: str, query: Mapping[str, str]) -> None:
        self._check_origin()
        content = self.rfile.read(self._length())
        if path == "/predict":
            answer = self.server.answers.predict(content, query.get("name", "scan"), query.get("frame"))
        elif path == "/test-scan":
            answer = self.server.answers.predict_test_scan(query.get("path", ""))
        else:
            raise Refused("there is nothing here", HTTPStatus.NOT_FOUND)
        self._send_json(answer)

    def _check_host(self) -> None:
        if _split(f"//{self.headers.get('Host', '')}").hostname not in HOSTS:
            hosts = f"{ADDRESS} or localhost"
            raise Refused(f"open this page as {hosts}, under no other name", HTTPStatus.MISDIRECTED_REQUEST)

    def _check_origin(self) -> None:
        if self.headers.get("Origin") != f"http://{self.headers['Host']}":
            raise Refused("only the page itself may post here", HTTPStatus.FORBIDDEN)

    def _length(self) -> int:
        """Return the length of the body in bytes."""
        length = self.headers.get("Content-Length", "")
        if not re.fullmatch("[0-9]+", length):
            raise Refused("the request does not say how long it is", HTTPStatus.LENGTH_REQUIRED)
        if len(length) > len(str(LIMIT)) or int(length) > LIMIT:
            problem = f"it is larger than {LIMIT // 2**20} MB, which is the most that is taken here"
            raise Refused(problem, HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
        return int(length)

    def _send_json(self, content: Mapping, status: HTTPStatus = HTTPStatus.OK) -> None:
        self._send(json.dumps(content, allow_nan=False).encode(), "application/json", status)

    def _send(self, body: bytes, kind: str, status: HTTPStatus = HTTPStatus.OK) -> None:
        self.send_response(status)
        for name, value in HEADERS.items():
            self.send_header(name, value)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)

    def _refuse(self, error: Refused) -> None:
        """Send the reason, and close the connection, since the body may be unread."""
        self.close_connection = True
        self._send_json({"error": str(error), "frames": error.frames}, error.status)
        self.wfile.flush()
        with suppress(OSError):
            # If it is closed with unread bytes, the connection is reset and the answer lost.
            self.connection.shutdown(socket.SHUT_WR)
            self.connection.settimeout(LINGER)
            for _ in range(LINGER_READS):
                if not self.connection.recv(2**16):
                    break


def _split(url: str) -> SplitResult:
    try:
        return urlsplit(url)
    except ValueError:
        return urlsplit("")
