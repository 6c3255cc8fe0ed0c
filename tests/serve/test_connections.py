"""Connections that no browser would make: malformed, slow, cut off, too large or too many."""

import resource
import signal
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

import numpy as np
import psutil
import pytest
from PIL import Image

from tests.serving import address, started
from tests.waiting import wait_for
from trueslice.serve.server import LIMIT

LIMITS = "from trueslice.serve import server; server.PATIENCE, server.CONNECTIONS, server.FILES_AT_ONCE = 10, 6, 1"
SMALL_FILES = "from trueslice.serve import server; server.LIMIT, server.FILES_AT_ONCE = 30 * 2**20, 2"
FAULT = """
from trueslice.serve.answers import Answers
def about(self):
    raise ValueError("a fault")
Answers.about = about
"""
HOLD = """
from trueslice.serve import answers
class Held(answers.Answers):
    def read(self, *arguments):
        print("read", flush=True)
        scan = super().read(*arguments)
        input()
        return scan
    def predict(self, scan):
        print("predict", flush=True)
        return super().predict(scan)
answers.Answers = Held
"""


class Wire:
    """Bytes to the server and from it."""

    def __init__(self, url: str):
        self.place = "127.0.0.1", urlsplit(url).port
        host = f"127.0.0.1:{self.place[1]}"
        token = urlsplit(url).query.partition("=")[2]
        self.own = f"Host: {host}\r\nCookie: trueslice-{self.place[1]}={token}\r\n"
        self.post = f"POST /predict?name=x HTTP/1.1\r\n{self.own}Origin: http://{host}\r\n"

    def open(self, text: str = "") -> socket.socket:
        connection = socket.create_connection(self.place, timeout=30)
        connection.sendall(text.encode("latin-1"))
        return connection

    def send(self, text: str, leave: bool = False) -> bytes:
        """Send, and return all that comes back until the server closes the connection."""
        with self.open(text) as connection:
            if leave:
                connection.shutdown(socket.SHUT_WR)
            return rest(connection)

    def get(self, path: str) -> bytes:
        return self.send(f"GET {path} HTTP/1.1\r\n{self.own}Connection: close\r\n\r\n")

    def predict(self, content: bytes) -> bytes:
        with self.open(f"{self.post}Connection: close\r\nContent-Length: {len(content)}\r\n\r\n") as connection:
            connection.sendall(content)
            return rest(connection)


def rest(connection: socket.socket) -> bytes:
    answer = b""
    try:
        while part := connection.recv(2**16):
            answer += part
    except ConnectionResetError:
        pass  # closed with some of the request unread
    return answer


def status(answer: bytes) -> int:
    """The status of a response, whose head has the headers of all, or which is empty."""
    head, _, body = answer.partition(b"\r\n\r\n")
    assert not body or (b"content-security-policy: default-src 'none'" in head and b"nosniff" in head)
    assert b"server:" not in head.lower()
    return int(head.split()[1])


@pytest.fixture(scope="module")
def wire(page_url) -> Wire:
    return Wire(page_url)


@pytest.fixture(scope="module")
def scan(released) -> bytes:
    return next((released / "data/raw/Testing").rglob("*.jpg")).read_bytes()


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ("", 411),
        ("Transfer-Encoding: chunked\r\n", 411),
        ("Content-Length: 3\r\nTransfer-Encoding: chunked\r\n", 411),
        ("Content-Length: 3\r\nContent-Length: 4\r\n", 400),
        ("Content-Length: -1\r\n", 400),
        ("Content-Length: +3\r\n", 400),
        ("Content-Length: 1.5\r\n", 400),
        ("Content-Length: many\r\n", 400),
        (f"Content-Length: {'1' * 5000}\r\n", 400),
        (f"Content-Length: {LIMIT + 1}\r\n", 413),
        (f"Content-Length: {10**19}\r\nExpect: 100-continue\r\n", 413),
        ("Content-Length: 3\r\nContent-Length: 3\r\n", 422),
    ],
)
def test_a_body_of_unclear_length_or_too_large_is_refused_before_it_is_read(wire, fields, expected):
    assert status(wire.send(f"{wire.post}{fields}Connection: close\r\n\r\nabc")) == expected


@pytest.mark.parametrize(
    "text",
    [
        "GET /\r\n\r\n",
        "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 a TLS hello",
        "\x00\x01\x02\r\n\r\n",
        "GET /\x00 HTTP/1.1\r\nHost: localhost\r\n\r\n",
        "GET / HTTP/1.1\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: localhost\r\nno field\r\n\r\n",
        f"GET / HTTP/1.1\r\nHost: localhost\r\nX: {'a' * 20_000}",
        "GET / HTTP/1.1\r\nHost: localhost\r\n" + "X: a\r\n" * 4_000,
    ],
)
def test_what_is_not_http_or_has_an_endless_head_is_refused_with_nothing(wire, text):
    answer = wire.send(text)
    assert (status(answer), answer.partition(b"\r\n\r\n")[2]) == (400, b"")


def test_a_body_that_is_cut_off_is_never_taken_for_the_file(wire, scan):
    # The half of a JPEG can be decoded.
    head = f"{wire.post}Content-Length: {len(scan)}\r\n\r\n"
    assert wire.send(head + scan[:-1].decode("latin-1"), leave=True) == b""
    assert status(wire.predict(scan)) == 200


def test_requests_in_one_go_are_answered_in_their_order(wire):
    paths = ["/model", "/page.css", "/none", "/model"]
    requests = "".join(f"GET {path} HTTP/1.1\r\n{wire.own}\r\n" for path in paths)
    answers = wire.send(f"{requests}GET / HTTP/1.1\r\n{wire.own}Connection: close\r\n\r\n").split(b"HTTP/1.1 ")[1:]
    assert [answer[:3] for answer in answers] == [b"200", b"200", b"404", b"200", b"200"]
    assert answers[0].partition(b"\r\n\r\n")[2] == answers[3].partition(b"\r\n\r\n")[2]


@pytest.mark.slow
def test_a_large_file_keeps_nobody_waiting(wire, scan, tmp_path):
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (4000, 6000), np.uint8)).save(tmp_path / "large.png")
    content, done = (tmp_path / "large.png").read_bytes(), []

    def ask(content: bytes) -> None:
        assert status(wire.predict(content)) == 200
        done.append(len(content))

    with ThreadPoolExecutor(2) as pool:
        large = pool.submit(ask, content)
        for _ in range(3):
            ask(scan)
        large.result()
    assert done == [*[len(scan)] * 3, len(content)]


@pytest.fixture(scope="module")
def tight(released) -> Iterator[tuple[Wire, psutil.Process]]:
    """A server of low limits, and its process."""
    with started(released, "--port", "0", before=LIMITS) as process:
        yield Wire(address(process)), psutil.Process(process.pid)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (130, "")


@pytest.mark.slow
def test_who_sends_byte_by_byte_or_never_reads_is_cut_off(tight):
    wire, process = tight
    begun = ["", "GET / HTTP/1.1\r\nX: ", f"{wire.post}Content-Length: 90000000\r\n\r\n"]
    slow = {wire.open(text) for text in begun}
    deaf = wire.open(f"GET /test-scans HTTP/1.1\r\n{wire.own}\r\n" * 500)
    wait_for(lambda: len(process.net_connections()) == 5, "the connections")

    def is_over() -> bool:
        for connection in list(slow):
            try:
                connection.sendall(b"a")
            except ConnectionError:
                slow.remove(connection)
        return len(process.net_connections()) == 1

    wait_for(is_over, "the end of all")
    assert not slow
    deaf.close()


@pytest.mark.slow
def test_a_sender_that_leaves_makes_room_for_the_next_file(tight, scan):
    wire, _ = tight
    with wire.open(f"{wire.post}Content-Length: 1000\r\n\r\nabc"):
        pass
    assert status(wire.predict(scan)) == 200


@pytest.mark.slow
def test_connections_over_the_limit_are_closed_and_others_go_on(tight):
    wire, process = tight
    many = [wire.open() for _ in range(20)]
    assert rest(many[-1]) == b""
    many[0].sendall(f"GET /model HTTP/1.1\r\n{wire.own}Connection: close\r\n\r\n".encode())
    assert status(rest(many[0])) == 200
    for connection in many:
        connection.close()
    wait_for(lambda: len(process.net_connections()) == 1, "the end of the others")
    assert status(wire.get("/model")) == 200


@pytest.mark.slow
def test_without_free_descriptors_it_waits_without_work(tight):
    wire, process = tight
    before = process.rlimit(resource.RLIMIT_NOFILE)
    process.rlimit(resource.RLIMIT_NOFILE, (process.num_fds(), before[1]))
    waiting = [wire.open() for _ in range(4)]
    first = process.cpu_times()
    threading.Event().wait(2)
    last = process.cpu_times()
    assert last.user + last.system - first.user - first.system < 0.5
    process.rlimit(resource.RLIMIT_NOFILE, before)
    assert status(wire.get("/model")) == 200
    for connection in waiting:
        connection.close()


@pytest.mark.slow
def test_a_file_whose_sender_has_left_is_not_classified_and_ctrl_c_waits_for_none(released, scan):
    with started(released, "--port", "0", before=HOLD) as process:
        wire = Wire(address(process))
        process.stdout.readline()
        head = f"{wire.post}Connection: close\r\nContent-Length: {len(scan)}\r\n\r\n"
        for leaves in (True, False):
            with wire.open(head + scan.decode("latin-1")) as connection:
                assert process.stdout.readline() == "read\n"
                if leaves:
                    connection.close()
                process.stdin.write("\n")
                process.stdin.flush()
                assert leaves or status(rest(connection)) == 200
        with wire.open(head + scan.decode("latin-1")):
            assert [process.stdout.readline() for _ in range(2)] == ["predict\n", "read\n"]
            process.send_signal(signal.SIGINT)
            assert process.wait(timeout=60) == 130
        assert (process.stdout.read(), process.stderr.read()) == ("", "")


@pytest.mark.slow
def test_a_fault_of_the_server_is_told_in_the_terminal_alone(released):
    with started(released, "--port", "0", before=FAULT) as process:
        answer = Wire(address(process)).get("/model")
        assert "ValueError: a fault\n" in iter(process.stderr.readline, "")
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=60) == 143
    assert status(answer) == 500 and answer.endswith(b"The server failed. The terminal says why.")


@pytest.mark.slow
def test_large_files_at_once_do_not_fill_the_memory(released):
    with started(released, "--port", "0", before=SMALL_FILES) as server:
        wire, process = Wire(address(server)), psutil.Process(server.pid)
        content, before, highest = bytes(30 * 2**20), process.memory_info().rss, 0
        with ThreadPoolExecutor(16) as pool:
            sent = [pool.submit(wire.predict, content) for _ in range(16)]
            while not all(each.done() for each in sent):
                highest = max(highest, process.memory_info().rss)
        server.send_signal(signal.SIGINT)
    assert all(status(each.result()) == 422 for each in sent)
    assert highest - before < 7 * len(content)
