"""HTTP server of `trueslice serve` and `trueslice review`, on the loopback address, by Starlette and uvicorn.

Every account of this computer can connect to the loopback address, and so can any web page in the user's browser. So
whoever asks must have the token that the terminal prints. A request must name a loopback host, since a foreign name can
be made to point here (DNS rebinding), and a POST must come from this page. No request is logged; nothing is written
to the disk but the decisions of a review.
"""

import asyncio
import errno
import os
import re
import secrets
import socket
import traceback
from pathlib import Path
from typing import TYPE_CHECKING

import uvicorn
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, JSONResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from trueslice.errors import UserError
from trueslice.files import Upload

if TYPE_CHECKING:
    # They import PyTorch, which takes seconds.
    from trueslice.inference.reading import Square
    from trueslice.serve.answers import Answers
    from trueslice.serve.review import Desk

PAGE = Path(__file__).with_name("page")
ADDRESS = "127.0.0.1"
# A host of a request; ::1 for a tunnel from another machine.
HOST = re.compile(r"(?:127\.0\.0\.1|localhost|\[::1\])(?::([0-9]{1,5}))?")
LIMIT = 100 * 2**20  # bytes, largest file
FILES_AT_ONCE = 4  # in memory, until they are decoded
CONNECTIONS = 100
PATIENCE = 120  # seconds for a request, from its first byte to the last one of its response
HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


class Server:
    """Server that listens from the start, so that a port in use is reported before a model is loaded.

    `port` is of 127.0.0.1; 0 takes a free one. UserError if it cannot be taken.

    Attributes:
        address: where a browser finds the page, with the token.
    """

    def __init__(self, port: int):
        try:
            self._socket = socket.create_server((ADDRESS, port))
        except OSError as error:
            reason = f"cannot be taken: {os.strerror(error.errno or 0)}"
            problem = "is in use by another program" if error.errno == errno.EADDRINUSE else reason
            raise UserError(f"port {port} {problem}; give another one by --port") from None
        self._token = secrets.token_urlsafe()
        self._places = asyncio.Semaphore(FILES_AT_ONCE)
        self.address = f"http://{ADDRESS}:{self._socket.getsockname()[1]}/?token={self._token}"

    def run(self, answers: "Answers") -> None:
        """Serve the page that classifies scans until a signal ends the process."""
        self._answers = answers
        routes = [
            Route("/model", self._model),
            Route("/test-scans", self._test_scans),
            Route("/predict", self._predict, methods=["POST"]),
            Route("/test-scan", self._test_scan, methods=["POST"]),
        ]
        self._serve(routes)

    def review(self, desk: "Desk") -> None:
        """Serve the page that takes decisions until a signal ends the process."""
        self._desk = desk
        routes = [
            Route("/", lambda _: FileResponse(PAGE / "review.html")),
            Route("/items", self._items),
            Route("/label", self._label),
            Route("/pair", self._pair),
            Route("/decide", self._decide, methods=["POST"]),
        ]
        self._serve(routes)

    def _serve(self, routes: list[Route]) -> None:
        app = Starlette(
            routes=[*routes, Mount("/", StaticFiles(directory=PAGE, html=True))],
            middleware=[Middleware(Guard, token=self._token)],
            exception_handlers={ClientDisconnect: lambda *_: Response(), Exception: _failed},
            max_body_size=LIMIT,
        )
        config = uvicorn.Config(
            app,
            loop="asyncio",
            http=Connection,
            ws="none",
            lifespan="off",
            backlog=CONNECTIONS,  # without free descriptors asyncio makes so many attempts a second
            headers=list(HEADERS.items()),
            server_header=False,
            proxy_headers=False,
            log_config=None,
        )
        Loop(config).run(sockets=[self._socket])

    def _model(self, _: Request) -> Response:
        return JSONResponse({"limit": LIMIT} | self._answers.about())

    def _test_scans(self, request: Request) -> Response:
        return JSONResponse({"scans": self._answers.test_scans(request.query_params.get("class"))})

    def _test_scan(self, request: Request) -> Response:
        return JSONResponse(self._answers.predict_test_scan(request.query_params.get("path", "")))

    def _items(self, _: Request) -> Response:
        return JSONResponse(self._desk.items())

    def _label(self, request: Request) -> Response:
        return JSONResponse(self._desk.label(request.query_params.get("path", "")))

    def _pair(self, request: Request) -> Response:
        query = request.query_params
        return JSONResponse(self._desk.pair(*(query.get(name, "") for name in ("a", "b", "kind"))))

    async def _decide(self, request: Request) -> Response:
        return JSONResponse(await run_in_threadpool(self._desk.decide, await request.body()))

    async def _predict(self, request: Request) -> Response:
        scan = await self._read(request)
        if await request.is_disconnected():
            raise ClientDisconnect
        return JSONResponse(await run_in_threadpool(self._answers.predict, scan))

    async def _read(self, request: Request) -> "Square":
        query = request.query_params
        async with self._places:
            content = b"".join([part async for part in request.stream()])
            file = Upload(query.get("name", "scan"), content)
            return await run_in_threadpool(self._answers.read, file, query.get("frame"))


class Guard:
    """Middleware that lets only the page itself through, in a browser that was given the token."""

    def __init__(self, app: ASGIApp, token: str):
        self._app = app
        self._token = token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await (self._refusal(Request(scope)) or self._app)(scope, receive, send)

    def _refusal(self, request: Request) -> Response | None:
        host = HOST.fullmatch(request.headers.get("Host", ""))
        if not host:
            return PlainTextResponse(f"Open this page as {ADDRESS} or localhost, under no other name.", 421)
        # A browser sends its cookies to all ports of a host.
        cookie = f"trueslice-{host[1] or 80}"
        asked = request.query_params.get("token")
        token = request.cookies.get(cookie, "") if asked is None else asked
        if not secrets.compare_digest(token.encode(), self._token.encode()):
            return PlainTextResponse("Open the address that was printed in the terminal.", 403)
        if asked:
            response = RedirectResponse("/", 303)
            response.set_cookie(cookie, token, httponly=True, samesite="strict")
            return response
        if request.method != "POST":
            return None
        if request.headers.get("Origin") != f"http://{host[0]}":
            return PlainTextResponse("Only the page itself may post here.", 403)
        if "Content-Length" not in request.headers or "Transfer-Encoding" in request.headers:
            return PlainTextResponse("The request must say how long it is.", 411)
        return None


class Connection(H11Protocol):
    """Connection that is closed if there are many, or a request takes long."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._deadline = self.loop.call_later(PATIENCE, transport.abort)
        if len(self.connections) > CONNECTIONS:
            transport.abort()

    def on_response_complete(self) -> None:
        self._deadline.cancel()
        self._deadline = self.loop.call_later(PATIENCE, self.transport.abort)
        super().on_response_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        self._deadline.cancel()
        super().connection_lost(exc)

    def send_400_response(self, msg: str) -> None:
        # Without uvicorn's text, which would lack HEADERS.
        self.transport.write(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        self.transport.close()


class Loop(uvicorn.Server):
    """Event loop that a signal ends at once."""

    def handle_exit(self, sig: int, frame: object) -> None:
        # Without Python's own end: a thread that has used PyTorch could abort the process then.
        os._exit(128 + sig)


async def _failed(_: Request, error: Exception) -> Response:
    traceback.print_exception(error)
    return PlainTextResponse("The server failed. The terminal says why.", 500)
