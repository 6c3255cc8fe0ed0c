"""The command `trueslice serve` in a terminal; what its page does is tested in tests/serve."""

import signal
import socket
import time

import pytest

from tests.serving import address, started


def ended(released, *arguments) -> tuple[int, str, str]:
    with started(released, *arguments) as process:
        out, err = process.communicate(timeout=60)
    return process.returncode, out, err


def test_a_port_in_use_is_told_at_once_with_the_option_to_change_it(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = str(other.getsockname()[1])
        start = time.perf_counter()
        status, out, err = ended(tmp_path, "--port", port)
    assert (status, out) == (1, "")
    assert err == f"error: port {port} is in use by another program; give another one by --port\n"
    assert time.perf_counter() - start < 3


@pytest.mark.parametrize("port", ["-1", "65536", "http", "²", "1" * 4301])
def test_a_port_that_is_none_is_status_2(tmp_path, port):
    status, _, err = ended(tmp_path, f"--port={port}")
    assert status == 2 and "is not a port" in err and "Traceback" not in err


def test_a_folder_that_holds_no_model_is_told_in_one_line(tmp_path):
    status, out, err = ended(tmp_path, "--model", "nowhere", "--port", "0")
    assert (status, out) == (1, "")
    assert err.startswith("error: nowhere does not exist, so it is not a released model; ") and err.count("\n") == 1


@pytest.mark.slow
def test_ctrl_c_ends_it_quietly(released):
    with started(released, "--port", "0") as process:
        address(process)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=20)
    assert (process.returncode, err) == (130, "")
