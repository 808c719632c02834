from __future__ import annotations

import numpy as np

from tuner.training.data import TrainingData
from tuner.training.sheet import STRENGTHS, contact_sheet

CELL, GAP, BLOCK, TITLE = 64, 2, 4 * 66 + 14, 24


def _cell(sheet: np.ndarray, row: int, column: int, draw: int) -> np.ndarray:
    top, left = TITLE + row * (CELL + GAP), GAP + column * BLOCK + draw * (CELL + GAP)
    return sheet[top : top + CELL, left : left + CELL]


def test_strength_0_shows_the_pictures_and_each_more_changes_them_more(stripes: TrainingData) -> None:
    sheet = np.asarray(contact_sheet(stripes)).astype(int)
    originals = {picture.tobytes() for picture in stripes.images[stripes.train_indices].numpy()}
    changes = []
    for column in range(len(STRENGTHS)):
        cells = [[_cell(sheet, row, column, draw)[::8, ::8, :1] for draw in range(4)] for row in range(8)]
        same = [[_cell(sheet, row, 0, 0)[::8, ::8, :1]] * 4 for row in range(8)]
        changes.append(float(np.abs(np.array(cells) - np.array(same)).mean()))
        if column == 0:
            assert all(cell.astype(np.uint8).tobytes() in originals for row in cells for cell in row)
    assert changes[0] == 0
    assert changes == sorted(changes)
    assert changes[3] > 10


def test_the_rows_take_turns_among_the_classes_and_the_sheet_repeats(stripes: TrainingData) -> None:
    sheet = np.asarray(contact_sheet(stripes)).astype(int)
    down = [np.ptp(_cell(sheet, row, 0, 0)[::8, ::8, 0].mean(axis=0)) > 60 for row in range(8)]
    assert down == [False, True] * 4
    assert np.array_equal(sheet, np.asarray(contact_sheet(stripes)))
