"""Trials that lose their worker: from where they go on, and what their second words count for."""

from tests.search.runs import new_record, report, saved, trial


def test_a_lost_trial_is_launched_again_with_the_same_parameters_from_its_checkpoint():
    record = new_record()
    first = record.next_assignment()
    record.report(first, report(1, 0.5, **saved(1, 0.5)))
    record.report(first, report(2, 0.6))
    record.lose(first, "killed")
    again = record.next_assignment()
    assert (again.number, again.attempt, again.params, again.start_epoch) == (0, 2, first.params, 1)
    assert again.checkpoint == {"path": "/s/epoch-1", "sha256": "a" * 64, "epoch": 1, "score": 0.5}


def test_an_epoch_trained_again_after_a_loss_changes_no_score_and_no_rung():
    record = new_record()
    first = record.next_assignment()
    record.report(first, report(1, 0.5))
    record.lose(first, "killed")
    again = record.next_assignment()
    assert record.report(again, report(1, 0.1)) is True
    assert record.rungs[1] == [0.5]
    assert trial(record, 0).values == [(1, 0.5)]


def test_weights_whose_score_is_not_the_recorded_one_are_never_the_best():
    record = new_record()
    first = record.next_assignment()
    record.report(first, report(1, 0.5, **saved(1, 0.5)))
    record.report(first, report(2, 0.7))
    record.lose(first, "killed")
    again = record.next_assignment()
    record.report(again, report(2, 0.9, **saved(2, 0.9)))  # a device that does not repeat bit for bit
    assert trial(record, 0).values == [(1, 0.5), (2, 0.7)]
    assert trial(record, 0).best_checkpoint["score"] == 0.5


def test_the_third_loss_of_a_trial_fails_it():
    record = new_record()
    for attempt in (1, 2):
        record.lose(record.next_assignment(), "killed")
        assert trial(record, 0).state == "queued", attempt
    record.lose(record.next_assignment(), "killed")
    lost = trial(record, 0)
    assert (lost.state, lost.attempt, lost.reason["kind"]) == ("failed", 3, "lost")


def test_a_process_that_goes_while_changing_trials_is_not_counted_against_the_next_one():
    record = new_record()
    for _ in range(4):
        record.lose(record.next_assignment(), "killed", begun=False)
    assert (trial(record, 0).state, record.next_assignment().attempt) == ("queued", 5)


def test_the_checkpoint_before_the_newest_goes_with_the_next_attempt():
    record = new_record()
    first = record.next_assignment()
    for epoch in (1, 2):
        record.report(first, report(epoch, 0.5, **saved(epoch, 0.5)))
    record.lose(first, "killed")
    again = record.next_assignment()
    assert (again.checkpoint["path"], again.previous["path"]) == ("/s/epoch-2", "/s/epoch-1")


def test_late_words_of_a_superseded_attempt_are_ignored():
    record = new_record()
    first = record.next_assignment()
    record.lose(first, "frozen")
    again = record.next_assignment()
    assert record.report(first, report(1, 0.99)) is False
    record.lose(first, "frozen")
    assert record.live == {0: again}
    assert trial(record, 0).values == []
