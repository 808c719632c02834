"""One trial in the terminal."""

from __future__ import annotations

import dataclasses

from tests.report.studies import detail_of, trial_of
from tuner.report.record import Epoch
from tuner.trialview import HEIGHT, WIDTH, as_dict, lines, plot


def epochs_of(*scores, first=1):
    return [Epoch(first + index, score, None, None, 1.0, "a:1 (CPU)", 1, None) for index, score in enumerate(scores)]


def test_it_tells_parameters_curve_place_and_end():
    reason = {"kind": "asha", "rung": 3, "rank": 4, "peers": 5, "cutoff": 0.7}
    trial = trial_of(0, (0.2, 0.5, 0.6), state="pruned", reason=reason)
    told = lines(detail_of(trial), 0)
    assert told[0] == "trial 0 of study test: pruned, rank 4 of 6 at epoch 3"
    assert told[1] == "best val_accuracy 0.6000 at epoch 3, the best of the study"
    assert "lr     0.0123" in told
    assert "val_accuracy by epoch, rungs (:) at 1, 3" in told
    assert told[-1] == "attempt 1: epochs 1 to 3 on here:1 (CPU), 3s"


def test_the_other_scores_of_the_best_epoch_are_told_and_all_are_in_the_json():
    trial = trial_of(0, (0.2, 0.6))
    scores = {"val_accuracy": 0.6, "val_macro_f1": 0.5, "val_loss": 0.75}
    trial = dataclasses.replace(
        trial, epochs=(trial.epochs[0], dataclasses.replace(trial.epochs[1], scores=scores, val_loss=0.75))
    )
    detail = detail_of(trial)
    assert lines(detail, 0)[1:3] == [
        "best val_accuracy 0.6000 at epoch 2, the best of the study",
        "with val_macro_f1 0.5000, val_loss 0.7500",
    ]
    assert as_dict(detail, 0)["epochs"][1].items() >= scores.items()


def test_attempts_on_other_workers_are_told_apart_and_so_is_what_went_wrong():
    trial = trial_of(0, (0.2, 0.5, 0.6), state="failed", attempt=3, reason={"kind": "lost", "detail": "node died"})
    moved = dataclasses.replace(trial.epochs[2], worker="there:2 (CPU)", attempt=2)
    trial = dataclasses.replace(trial, epochs=(*trial.epochs[:2], moved), restarts=("damaged: began again",), losses=2)
    told = lines(detail_of(trial), 0)
    assert told[0] == "trial 0 of study test: failed, lost: node died"
    assert told[-5:] == [
        "attempt 1: epochs 1 to 2 on here:1 (CPU), 2s",
        "attempt 2: epoch 3 on there:2 (CPU), 1s",
        "attempt 3: no epoch yet",
        "went back: damaged: began again",
        "2 attempts ended because the worker was lost",
    ]


def test_a_trial_that_has_just_begun_has_no_curve():
    told = lines(detail_of(trial_of(0)), 0)
    assert told[0] == "trial 0 of study test: running, still running"
    assert "it has not finished an epoch" in told


def test_the_plot_is_higher_where_the_score_is_and_marks_the_rungs():
    drawn = plot(epochs_of(0.0, 1.0, 0.5), 1, 4, (1, 3))
    assert len(drawn) == HEIGHT + 2
    columns = [line[12:].ljust(WIDTH) for line in drawn[:HEIGHT]]
    wide = WIDTH // 4

    def height(place):
        return sum(line[place * wide] not in " :" for line in columns)

    assert (height(0), height(1), height(3)) == (1, HEIGHT, 0)
    assert 4 <= height(2) <= 7
    assert [line[wide - 1] for line in columns[:-1]] == [":"] * (HEIGHT - 1)
    assert drawn[0].startswith("    1.0000 |")
    assert drawn[-1].split() == ["1", "4"]


def test_long_short_and_flat_curves_fit():
    for scores, last in [((0.5,), 1), ((0.5, 0.5), 2), (tuple(index / 300 for index in range(300)), 300)]:
        drawn = plot(epochs_of(*scores), 1, last, ())
        assert max(map(len, drawn)) <= 12 + WIDTH
        assert any("█" in line for line in drawn)
    continued = plot(epochs_of(0.1, 0.2, first=10), 10, 20, ())
    assert continued[-1].split() == ["10", "20"]


def test_the_json_has_every_epoch_and_no_paths():
    content = as_dict(detail_of(trial_of(0, (0.2, 0.5), state="complete")), 0)
    assert content["best"] == {"epoch": 2, "value": 0.5}
    assert content["epochs"][1] == {
        "epoch": 2,
        "score": 0.5,
        "train_loss": 0.5,
        "val_loss": 1.1 - 0.5,
        "seconds": 1.0,
        "worker": "here:1 (CPU)",
        "attempt": 1,
        "ended_s": 1_790_000_002.0,
    }
    assert content["rungs"] == [1, 3]
    assert "checkpoint" not in str(content)
