"""`--warm-start`: which trials of an earlier study become evidence, as what, and what is said of the others."""

import json

import pytest

from tests.factories import LR, NORM, WIDTH, new_space, new_spec, new_trial
from tuner.errors import StoreError, UsageError
from tuner.evidence import Evidence
from tuner.space import parse_space
from tuner.spec import StudySpec
from tuner.study import Study
from tuner.warmstart import BEST, MOST, warm_started

PARAMS = {"lr": 0.1, "width": 32, "norm": "batch"}


def study(*trials, **changes):
    return Study(new_spec(name="first", **changes), trials, len(trials), None)


def complete(number=0, score=0.8, **changes):
    values = [(epoch, score - abs(epoch - 7) / 100) for epoch in range(1, 10)]
    return new_trial(number, **{"state": "complete", "params": PARAMS, "values": values, **changes})


def pruned(number=1, **changes):
    return new_trial(
        number, **{"state": "pruned", "params": PARAMS, "values": [(1, 0.3), (2, 0.5), (3, 0.4)], **changes}
    )


def test_complete_trials_count_by_their_best_score_and_pruned_ones_by_their_last():
    spec, notes = warm_started(new_spec(), study(complete(), pruned()))
    assert spec.warm_start == "first"
    assert spec.evidence == (Evidence(PARAMS, 9, 0.8, complete=True), Evidence(PARAMS, 3, 0.4, complete=False))
    assert notes == ["warm start: 2 of 2 trials of study first are evidence for the sampler"]
    assert StudySpec.from_json(spec.to_json()) == spec


def test_where_lower_is_better_the_lowest_score_is_the_best():
    spec, _ = warm_started(new_spec(metric="val_loss"), study(complete(values=[(8, 0.2), (9, 0.4)]), metric="val_loss"))
    assert spec.evidence[0].score == 0.2


def test_what_cannot_be_evidence_is_left_out_and_counted_with_the_reason():
    trials = [
        complete(0),
        complete(1, params={**PARAMS, "lr": 0.2}),
        complete(2, params={**PARAMS, "lr": 0.3}),
        new_trial(3, state="failed", reason={"kind": "error", "detail": "x"}, params=PARAMS),
        new_trial(4, state="queued", params=PARAMS, values=[(1, 0.5)]),
        complete(5, params={**PARAMS, "norm": "none"}),
    ]
    narrow = {"lr": {**LR, "high": 0.1}, "width": WIDTH, "norm": {**NORM, "choices": ["batch"]}}
    spec, notes = warm_started(new_spec(space=new_space(dimensions=narrow)), study(*trials))
    assert [known.params for known in spec.evidence] == [PARAMS]
    assert notes == [
        "warm start: 1 of 6 trials of study first are evidence for the sampler; not taken: 2 outside the bounds of lr, "
        "1 failed, 1 unfinished, 1 outside the bounds of norm"
    ]


def test_with_other_epochs_a_score_is_that_of_a_trial_that_was_stopped():
    shorter, notes = warm_started(new_spec(max_epochs=5), study(complete(), pruned()))
    assert shorter.evidence[0] == Evidence(PARAMS, 5, pytest.approx(0.78), complete=False)
    assert notes[1:] == [
        "note: trials of study first had up to 9 epochs, here 5: their scores count as those of trials that were "
        "stopped"
    ]
    longer, _ = warm_started(new_spec(max_epochs=27), study(complete(), complete(1, max_epochs=27, values=[(27, 0.9)])))
    assert [(known.epoch, known.complete) for known in longer.evidence] == [(9, False), (27, True)]
    with pytest.raises(UsageError, match=r"none of its 1 trials can be used \(1 without a score in the first 5 epochs"):
        warm_started(new_spec(max_epochs=5), study(complete(values=[(7, 0.5)])))


def test_with_other_data_likewise_and_that_is_a_warning():
    spec, notes = warm_started(new_spec(), study(complete(), data_fingerprint="1" * 64))
    assert spec.evidence == (Evidence(PARAMS, 9, pytest.approx(0.78), complete=False),)
    assert notes[1] == (
        "warning: study first is of other data (digits): its scores count less than those of this search"
    )


def test_what_the_earlier_study_did_not_search_had_its_constant_or_the_default():
    wide = {
        "lr": LR,
        "depth": {**WIDTH, "low": 1, "high": 4, "step": None},
        "dropout": {**LR, "low": 0.0, "log": False},
    }
    spec, notes = warm_started(
        new_spec(space=new_space(dimensions=wide)), study(complete(), space=new_space(constants={"depth": 2}))
    )
    assert spec.evidence[0].params == {"lr": 0.1, "depth": 2, "dropout": 0.0}
    assert notes[1] == "note: study first had other values of what is constant here: width"


def test_a_choice_that_is_constant_now_has_to_be_the_same():
    fixed = new_space(dimensions={"lr": LR, "width": WIDTH}, constants={"norm": "none"})
    trials = complete(0), complete(1, params={**PARAMS, "norm": "none"})
    spec, notes = warm_started(new_spec(space=fixed), study(*trials))
    assert [known.params for known in spec.evidence] == [{"lr": 0.1, "width": 32}]
    assert notes == [
        "warm start: 1 of 2 trials of study first are evidence for the sampler; not taken: 1 with another norm than "
        "none"
    ]


def test_conditional_dimensions_are_taken_where_they_exist():
    text = """
    [space]
    norm = { type = "choice", choices = ["batch", "none"] }
    lr = { type = "float", low = 1e-3, high = 0.3, only_if = { norm = "batch" } }
    """
    trials = complete(0), complete(1, params={"norm": "none", "width": 16, "lr": 0.2})
    spec, _ = warm_started(new_spec(space=parse_space(text, source="s")), study(*trials))
    assert [known.params for known in spec.evidence] == [{"norm": "batch", "lr": 0.1}, {"norm": "none"}]


def test_of_many_the_best_are_taken_and_an_even_sample_of_the_others_in_their_order():
    trials = [complete(number, score=((number * 7919) % 10_007) / 10_007) for number in range(1000)]
    spec, notes = warm_started(new_spec(), study(*trials))
    scores = [known.score for known in spec.evidence]
    ranked = sorted((max(score for _, score in trial.values) for trial in trials), reverse=True)
    assert len(scores) == MOST
    assert sorted(scores, reverse=True)[:BEST] == ranked[:BEST]
    assert min(scores) <= ranked[-5]
    assert sorted(scores)[MOST // 2] == pytest.approx(sorted(ranked)[500], abs=0.1)
    taken = [trial.number for trial in trials if max(score for _, score in trial.values) in set(scores)]
    assert [max(score for _, score in trials[number].values) for number in taken] == scores
    assert notes[0].endswith(f"not taken: 750 more than the {MOST} that are taken")


def test_another_goal_and_a_study_of_no_use_are_refused_by_name():
    with pytest.raises(UsageError, match="--warm-start first: it wants to minimize val_loss, and this search to maxi"):
        warm_started(new_spec(), study(complete(), metric="val_loss"))
    with pytest.raises(UsageError, match=r"--warm-start first: none of its 0 trials can be used$"):
        warm_started(new_spec(), study())


@pytest.mark.parametrize(
    "row",
    [{"params": {"lr": 9.0}}, {"params": {"x": 1}}, {"params": 3}, {"score": "high"}, {"epoch": None}, {"more": 1}],
)
def test_evidence_in_the_store_that_is_none_is_one_clear_line(row):
    good = {"params": {"lr": 0.1}, "epoch": 3, "score": 0.5, "complete": False}
    text = new_spec().to_json()
    assert '"evidence":[]' in text
    with pytest.raises(StoreError, match="not one of this program"):
        StudySpec.from_json(text.replace('"evidence":[]', f'"evidence":[{json.dumps({**good, **row})}]'))
    assert len(StudySpec.from_json(text.replace('"evidence":[]', f'"evidence":[{json.dumps(good)}]')).evidence) == 1
