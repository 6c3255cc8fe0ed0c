import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PROGRAM = """
import time
from trueslice import progress
progress.INTERVAL = {interval}
for _ in progress.Progress(range(40), desc="reading"):
    time.sleep(0.01)
"""


def shown(interval: float) -> str:
    command = [sys.executable, "-c", PROGRAM.format(interval=interval)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stderr


def test_a_log_gets_a_line_of_its_own_now_and_then():
    lines = shown(0.1).splitlines()
    assert 2 <= len(lines) <= 6
    assert all(re.fullmatch(r"reading: \d+ of 40, 00:00 gone, 00:00 left", line) for line in lines), lines


def test_a_log_gets_nothing_of_short_work():
    assert shown(60) == ""


def test_a_terminal_gets_a_bar():
    pty, termios = map(pytest.importorskip, ("pty", "termios"))
    outer, inner = pty.openpty()
    termios.tcsetwinsize(inner, (24, 80))
    subprocess.run([sys.executable, "-c", PROGRAM.format(interval=60)], cwd=ROOT, stderr=inner, check=True)
    os.close(inner)
    assert b"\rreading: 100%" in os.read(outer, 100_000)
