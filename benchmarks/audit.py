"""Time and peak memory of the audit's first pass, by the number of scans, each size in a process of its own.

python -m benchmarks.audit                        # 1,000 to 20,000 synthetic thumbnails
python -m benchmarks.audit 50000 100000           # other sizes
python -m benchmarks.audit 100000 --device cuda
"""

import argparse
import json
import resource
import subprocess
import sys
import time

import numpy as np

from tumorclip.data import copies
from tumorclip.device import pick_device

SIZES = [1_000, 2_000, 5_000, 10_000, 20_000]


def thumbnails(count: int) -> np.ndarray:
    """Smooth random pictures, float32 [N, 64, 64]; every tenth is a noisy copy of the one before it."""
    rng = np.random.default_rng(0)
    means = np.empty((count, 64, 64), np.float32)
    for row in range(count):
        if row % 10 == 9:
            means[row] = means[row - 1, :, ::-1] + 0.05 * rng.random((64, 64), dtype=np.float32)
        else:
            means[row] = np.kron(rng.random((8, 8), dtype=np.float32), np.ones((8, 8), np.float32))
    return means


def measure(count: int, device: str) -> dict:
    means = thumbnails(count)
    start = time.perf_counter()
    a, b = copies.candidates(means, 0.98 - copies.COARSE_MARGIN, device)
    _, correlations = copies.best_orientations(means, a, b)
    seconds = time.perf_counter() - start
    found = int((correlations >= 0.98).sum())
    assert found == count // 10, f"{found} copies found, {count // 10} planted"
    # Linux counts in KiB, macOS in bytes.
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    return {"scans": count, "seconds": seconds, "peak": peak, "input": means.nbytes}


def main() -> None:
    parser = argparse.ArgumentParser(description="Time and peak memory of the audit's first pass.")
    parser.add_argument("sizes", type=int, nargs="*", default=SIZES, help="numbers of scans")
    parser.add_argument("--device", default="cpu", help="as verify.device")
    parser.add_argument("--alone", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.alone:
        print(json.dumps(measure(*args.sizes, pick_device(args.device, "--device"))))
        return
    rows = []
    print("   scans    seconds   peak MB   of which thumbnails")
    for size in args.sizes:
        command = [sys.executable, "-m", "benchmarks.audit", str(size), "--alone", "--device", args.device]
        rows.append(json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout))
        row = rows[-1]
        print(f"{size:8,} {row['seconds']:10.2f} {row['peak'] / 1e6:9,.0f} {row['input'] / 1e6:9,.0f}", flush=True)
    large = [row for row in rows if row["scans"] >= 5_000]  # below, what does not grow counts too
    if len(large) > 1:
        scans = np.log([row["scans"] for row in large])
        for name in ("seconds", "peak"):
            power = np.polyfit(scans, np.log([row[name] for row in large]), 1)[0]
            print(f"{name} grow with the number of scans to the power of {power:.2f} (from 5,000 scans)")


if __name__ == "__main__":
    main()
