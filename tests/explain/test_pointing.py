"""Measures of explanations, on maps and masks that are made up."""

import numpy as np
import pytest

from trueslice.explain import pointing
from trueslice.tables.explanations import Explanations
from trueslice.tables.splits import Splits

SIDE, COUNT = 16, 60
CLASSES = np.array(["glioma", "meningioma"])[np.arange(COUNT) % 2]


def discs(seed: int, count: int = COUNT) -> np.ndarray:
    """A disc anywhere in each square, bool [count, SIDE, SIDE]."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:SIDE, :SIDE]
    return np.stack([np.hypot(x - cx, y - cy) < 2.5 for cx, cy in rng.uniform(4, 12, (count, 2))])


def splits(class_names: np.ndarray) -> Splits:
    rows, text = np.arange(len(class_names)), np.full(len(class_names), "")
    paths = np.array([f"{row}.png" for row in rows])
    return Splits(paths, class_names, text, rows, text, rows // 2, np.full(len(rows), "test"), text, text)


def measured(maps: np.ndarray, masks: np.ndarray, **others) -> Explanations:
    head = np.zeros((len(maps), SIDE, SIDE), np.uint8)
    head[:, 2:14, 2:14] = 200
    cells = np.eye(SIDE * SIDE).reshape(-1, SIDE, SIDE)
    given = {"maps": maps, "random": discs(9).astype(float), "masks": masks, "pixels": head, "cells": cells} | others
    return pointing.measure(splits(CLASSES), CLASSES, pointing.Measured(**given), splits(CLASSES), discs(5))


def test_maps_that_are_the_masks_point_at_all_tumours():
    masks = discs(1)
    table = measured(masks.astype(float), masks)
    assert table.pointing.mean() == table.energy.mean() == table.ceiling_pointing.mean() == 1
    assert table.uniform == pytest.approx(masks[:, 2:14, 2:14].mean(axis=(1, 2)))


def test_maps_of_chance_seldom_point_at_tumours():
    assert measured(discs(2).astype(float), discs(1)).pointing.mean() < 0.3


def test_one_map_for_all_points_at_other_patients_as_well():
    masks = np.repeat(discs(3, 1), COUNT, axis=0)
    table = measured(masks.astype(float), masks)
    assert table.pointing.mean() == table.other_pointing.mean() == 1, (
        "it says where tumours lie, and nothing of the scan"
    )


def test_the_fixed_point_comes_from_other_scans_and_is_that_of_the_class():
    known = np.zeros((4, SIDE, SIDE), bool)
    known[:3, 5, 5], known[3, 9, 9] = True, True
    masks = np.zeros((3, SIDE, SIDE), bool)
    masks[0, 5, 5], masks[1, 9, 9], masks[2, 5, 5] = True, True, True
    of = np.array(["glioma", "glioma", "glioma", "meningioma"])
    hits = pointing.fixed_points(masks, np.array(["glioma", "meningioma", "pituitary"]), known, of)
    assert hits.tolist() == [True, True, False]


def test_the_mask_of_the_same_patient_is_not_another_one():
    masks = discs(1, 4)
    units, names = np.array([0, 0, 1, 1]), np.full(4, "glioma")
    others = pointing.masks_of_others(masks, names, units)
    assert (others[0] == masks[2:].mean(axis=0)).all() and (others[3] == masks[:2].mean(axis=0)).all()
    assert np.isnan(pointing.masks_of_others(masks, names, np.zeros(4))).all()


def test_no_map_of_the_grid_is_better_than_the_ceiling():
    rng = np.random.default_rng(0)
    cells, masks = rng.random((9, SIDE, SIDE)), discs(1)
    _, energy = pointing.ceilings(masks, cells)
    for weights in rng.dirichlet(np.full(9, 0.3), 50):
        mixed = np.repeat(np.tensordot(weights, cells, 1)[None], COUNT, axis=0)
        assert (pointing.energies(mixed, masks) <= energy + 1e-9).all()


def test_the_head_is_what_is_bright_and_what_it_encloses():
    scan = np.zeros((1, SIDE, SIDE), np.uint8)
    scan[0, 3:13, 3:13], scan[0, 5:11, 5:11] = 200, 0
    assert pointing.heads(scan).sum() == 100
