import numpy as np
import pytest
import torch

from trueslice.model.pixels import AHEAD, Pixels

CPU = torch.device("cpu")


def test_grey_and_colour_are_taken_and_resized():
    ramp = np.broadcast_to(np.arange(96, dtype=np.uint8)[:, None], (3, 96, 96))
    grey = Pixels(ramp, [0, 1, 2], 48, CPU).take(torch.arange(3))
    assert grey.shape == (3, 1, 48, 48) and grey.dtype == torch.uint8
    inner = grey[2, 0, 4:-4, 10].float()
    torch.testing.assert_close(inner, torch.arange(4, 44) * 2 + 0.5, atol=0.6, rtol=0)
    colour = np.zeros((2, 32, 32, 3), np.uint8)
    colour[..., 2] = 200
    result = Pixels(colour, [0, 1], 32, CPU).take(torch.arange(2))
    assert result.shape == (2, 3, 32, 32)
    assert result[:, 2].eq(200).all() and result[:, :2].eq(0).all()


@pytest.mark.parametrize("shape", [(40, 32, 32), (40, 48, 48), (40, 32, 32, 3)])
def test_streamed_scans_are_those_that_lie_on_the_device(tmp_path, device, shape):
    np.save(tmp_path / "pixels.npy", np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8))
    pixels = np.load(tmp_path / "pixels.npy", mmap_mode="r")
    rows = np.random.default_rng(1).permutation(40)[:30]
    resident, streamed = (Pixels(pixels, rows, 32, device, resident=resident) for resident in (True, False))
    plan = torch.randperm(30, generator=torch.Generator().manual_seed(2)).split(4)
    assert len(plan) > AHEAD
    for here, there in zip(resident.batches(plan), streamed.batches(plan), strict=True):
        assert here.dtype == there.dtype == torch.uint8 and torch.equal(here, there)
        assert here.device.type == there.device.type == device.type
    assert torch.equal(torch.cat(list(resident.all())), torch.cat(list(streamed.all())))
    assert resident.hash() == streamed.hash()


def test_the_hash_tells_pixels_and_their_order_apart():
    pixels = np.random.default_rng(0).integers(0, 256, (4, 16, 16), dtype=np.uint8)
    changed = pixels.copy()
    changed[2, 3, 3] ^= 1
    hashes = {
        Pixels(*given, 16, CPU).hash() for given in ((pixels, [0, 1, 2]), (pixels, [1, 0, 2]), (changed, [0, 1, 2]))
    }
    assert len(hashes) == 3


def test_a_stream_that_is_left_early_ends():
    stream = Pixels(np.zeros((50, 16, 16), np.uint8), range(50), 16, CPU, resident=False).batches(
        torch.arange(50).split(2)
    )
    next(stream)
    stream.close()
