import subprocess
import sys

import pytest

CODE = """
import resource
import torch
from trueslice.model.cpu import keep_freed_memory

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(20):
        torch.ones(2**24)  # 64 MiB
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

without = faults()
keep_freed_memory()
faults()  # the first few settle where the piece lies
print(without, faults())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has mallopt")
def test_freed_memory_is_taken_again_and_not_cleared_by_the_system():
    found = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True)
    without, kept = map(int, found.stdout.split())
    assert kept < without / 10
