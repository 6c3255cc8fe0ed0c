import pytest
import torch

from trueslice.train.captions import Captions

CAPTIONS = Captions([["a", "b", "c"], ["d"], ["e", "f"]])
OWNER = torch.tensor([0, 0, 0, 1, 2, 2])
LABELS = torch.tensor([0, 0, 1, 2, 2, 2])


@pytest.mark.parametrize("per_scan", [True, False])
def test_each_needed_caption_is_drawn_once_and_over_time_all_are(per_scan):
    seen = set()
    for seed in range(30):
        generator = torch.Generator().manual_seed(seed)
        drawn = CAPTIONS.draw(generator, LABELS if per_scan else None)
        captions, class_matrix, scan_captions = drawn
        assert len(set(captions.tolist())) == len(captions)
        assert (OWNER[captions][class_matrix.argmax(dim=1)] == torch.arange(3)).all()
        assert (class_matrix.sum(dim=1) == 1).all()
        assert (scan_captions is not None) == per_scan
        if per_scan:
            assert (OWNER[captions][scan_captions] == LABELS).all()
        seen |= set(captions.tolist())
    assert seen == set(range(6))


def test_scans_of_one_class_may_get_different_captions():
    draws = [CAPTIONS.draw(torch.Generator().manual_seed(seed), LABELS) for seed in range(30)]
    assert any(drawn.scan_captions[3] != drawn.scan_captions[4] for drawn in draws)


def test_all_captions_give_each_class_the_mean_direction_of_its_own():
    captions, class_matrix, scan_captions = CAPTIONS.all()
    assert captions.tolist() == list(range(6)) and scan_captions is None
    texts = torch.nn.functional.normalize(torch.randn(6, 4, generator=torch.Generator().manual_seed(0)), dim=1)
    expected = torch.stack([texts[index == OWNER].mean(dim=0) for index in range(3)])
    expected = expected / expected.norm(dim=1, keepdim=True)
    torch.testing.assert_close(torch.nn.functional.normalize(class_matrix @ texts, dim=1), expected)
