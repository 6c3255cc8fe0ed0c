"""Time and peak memory of the audit's first pass, by the number of scans, each size in a process of its own.

python -m benchmarks.audit                        # 1,000 to 20,000 synthetic thumbnails
python -m benchmarks.audit 100000                 # other sizes
python -m benchmarks.audit --device cuda

A tenth of the thumbnails are changed copies, in six ways. A run that misses one, or finds anything else, stops. The
result is written to benchmarks/results if it is of the sizes of the first line, on the CPU.
"""

import argparse
import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from research.markdown import table
from trueslice.copies import search as copies
from trueslice.device import pick_device
from trueslice.files import write_json

RESULT = Path(__file__).parent / "results/audit.json"
SIZES = [1_000, 2_000, 5_000, 10_000, 20_000]
# Changes of pictures from 0 to 255, and the kind that finds them again.
CHANGES: dict[str, tuple[Callable[[np.ndarray], np.ndarray], str]] = {
    "mirrored": (np.fliplr, "mirrored"),
    "turned by 90 degrees": (np.rot90, "quarter_turn_right"),
    "upside down": (np.flipud, "upside_down"),
    "noisy": (lambda picture: picture + np.random.default_rng(0).normal(0, 10, picture.shape), "near"),
    "blurred": (lambda picture: (np.roll(picture, 1, 0) + 4 * picture + np.roll(picture, -1, 0)) / 6, "near"),
    "other contrast": (lambda picture: 255 * (picture / 255) ** 0.8, "near"),
}


def thumbnails(count: int) -> np.ndarray:
    """Random pictures of 8 x 8 squares, float32 [N, 64, 64]; every tenth is a changed copy of the one before it."""
    rng = np.random.default_rng(0)
    changes = [change for change, _ in CHANGES.values()]
    means = np.empty((count, 64, 64), np.float32)
    for row in range(count):
        if row % 10 == 9:
            changed = changes[row // 10 % len(changes)](means[row - 1])
        else:
            changed = np.kron(255 * rng.random((8, 8)), np.ones((8, 8)))
        means[row] = np.rint(64 * np.clip(changed, 0, 255)) / 64
    return means


def measure(count: int, device: str) -> dict:
    means = thumbnails(count)
    start = time.perf_counter()
    a, b = copies.candidates(means, 0.98 - copies.COARSE_MARGIN, device)
    between = time.perf_counter()
    kinds, correlations = copies.best_orientations(means, a, b)
    end = time.perf_counter()
    found = correlations >= 0.98
    expected = [kind for _, kind in CHANGES.values()]
    planted = [(row - 1, row, expected[row // 10 % len(expected)]) for row in range(9, count, 10)]
    assert list(zip(a[found].tolist(), b[found].tolist(), kinds[found].tolist(), strict=True)) == planted
    # Linux counts in KiB, macOS in bytes.
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    return {
        "scans": count,
        "candidates_seconds": between - start,
        "orientations_seconds": end - between,
        "pairs_compared": len(a),
        "copies_planted": len(planted),
        "copies_found": int(found.sum()),
        "peak": peak,
        "input": means.nbytes,
    }


def tables(result: Mapping) -> str:
    """Return the table of README.md."""
    rows = []
    for row in result["rows"]:
        seconds = [row["candidates_seconds"], row["orientations_seconds"]]
        found = f"{row['copies_found']:,} of {row['copies_planted']:,}"
        memory = [f"{row[key] / 1e6:,.0f}" for key in ("peak", "input")]
        rows.append([f"{row['scans']:,}", *(f"{each:.2f}" for each in (*seconds, sum(seconds))), found, *memory])
    times = ("candidates, s", "orientations, s", "together, s")
    return table(["scans", *times, "copies found", "peak MB", "of which thumbnails"], rows)


def powers(rows: list[dict]) -> dict[str, float]:
    """The powers of the number of scans with which seconds and peak grow, where it is large."""
    large = [row for row in rows if row["scans"] >= 5_000]  # below, what does not grow counts too
    if len(large) < 2:
        return {}
    scans = np.log([row["scans"] for row in large])
    seconds = [row["candidates_seconds"] + row["orientations_seconds"] for row in large]
    measures = {"seconds": seconds, "peak": [row["peak"] for row in large]}
    return {name: float(np.polyfit(scans, np.log(values), 1)[0]) for name, values in measures.items()}


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
    for size in args.sizes:
        command = [sys.executable, "-m", "benchmarks.audit", str(size), "--alone", "--device", args.device]
        rows.append(json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout))
        print(rows[-1], file=sys.stderr, flush=True)
    result = {"command": "python -m benchmarks.audit", "rows": rows, "powers": powers(rows)}
    print(tables(result))
    print(f"seconds and peak grow with the number of scans to these powers, from 5,000 scans on: {result['powers']}")
    if args.sizes == SIZES and args.device == "cpu":
        write_json(RESULT, result)


if __name__ == "__main__":
    main()
