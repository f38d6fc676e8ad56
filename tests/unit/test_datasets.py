"""Moved images and shuffles."""

from __future__ import annotations

import torch

from demos.core.datasets import moved, shuffles


def test_images_are_moved_by_every_offset_and_nothing_wraps_round() -> None:
    image = torch.zeros(1, 8, 8)
    image[0, 0, 3] = 1.0
    places = moved(image.view(1, -1)).view(3, 3, 8, 8)
    assert places[1, 1].equal(image[0])
    assert places[2].sum() == 0  # one up: over the edge
    for i, row in ((0, 1), (1, 0)):
        for j in range(3):
            assert places[i, j, row, 4 - j] == 1.0 and places[i, j].sum() == 1.0
    assert moved(image.view(1, -1), 0).equal(image.view(1, 1, -1))


def test_a_shuffle_for_each_seed_repeats_no_number() -> None:
    drawn = shuffles(10, 3, torch.Generator().manual_seed(0), 4)
    assert drawn.shape == (3, 4) and all(len(set(row)) == 4 and max(row) < 10 for row in drawn.tolist())
    whole = shuffles(10, 2, torch.Generator().manual_seed(0))
    assert [sorted(row) for row in whole.tolist()] == [list(range(10))] * 2 and whole[0].tolist() != whole[1].tolist()
