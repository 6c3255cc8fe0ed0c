"""Equality of a small model on CPUs of other kinds: hashes of what one training step is made of.

python -m benchmarks.instructions

Run it on two CPUs, or under an emulator, and compare the lines. The environment says with which instructions:

export ATEN_CPU_CAPABILITY=avx2 ONEDNN_MAX_CPU_ISA=AVX2 MKL_CBWR=AVX2
qemu-x86_64 -cpu Haswell-v4 python -m benchmarks.instructions
"""

import hashlib
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from torch.nn import functional

from trueslice.checkpoints import drawn as builtin
from trueslice.model.cpu import SMALL_THREADS
from trueslice.model.encoder import Encoder

STEPS = 3
CAPTIONS = ["a glioma", "a meningioma", "no tumour", "a pituitary tumour"]


def main() -> None:
    torch.set_num_threads(SMALL_THREADS)
    generator = torch.Generator().manual_seed(0)

    def draw(*shape: int) -> torch.Tensor:
        return torch.randint(-1000, 1000, shape, generator=generator) / 997

    left = draw(1040, 256)
    heads = draw(16, 4, 65, 32)
    print("matrix product", digest(left @ draw(256, 128)))
    print("attention", digest(functional.scaled_dot_product_attention(heads, heads, heads)))
    print("exponential", digest(left.exp()))
    print("convolution", digest(functional.conv2d(draw(16, 3, 64, 64), draw(128, 3, 8, 8), stride=8)))
    with TemporaryDirectory() as folder:
        builtin.build(Path(folder), seed=0)
        train(Encoder.load(Path(folder), "cpu"), draw(16 * STEPS, 1, 64, 64) * 100 + 100)


def train(encoder: Encoder, pixels: torch.Tensor) -> None:
    """Take a few steps without augmentation, which some emulators cannot compute."""
    tokens = encoder.tokenize(CAPTIONS)
    labels = torch.arange(16) % len(CAPTIONS)
    optimizer = torch.optim.AdamW(encoder.model.parameters(), lr=1e-3, fused=True)
    start = time.process_time()
    for number, batch in enumerate(pixels.split(16), start=1):
        logits = encoder.logit_scale * encoder.encode_images(batch) @ encoder.encode_tokens(tokens).T
        functional.cross_entropy(logits, labels).backward()
        optimizer.step()
        optimizer.zero_grad()
        print(f"weights after step {number}", digest(*encoder.model.state_dict().values()), flush=True)
    print(f"{time.process_time() - start:.2f} s of CPU time")


def digest(*values: torch.Tensor) -> str:
    content = b"".join(value.detach().contiguous().numpy().tobytes() for value in values)
    return hashlib.sha256(content).hexdigest()[:16]


if __name__ == "__main__":
    main()
