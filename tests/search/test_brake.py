"""A search whose trials all fail, and when it gives up."""

from tests.search.runs import new_record, report
from tuner.exchange import Failure
from tuner.store.journal import MemoryJournal


def fail_early(record, details):
    for detail in details:
        record.report(record.next_assignment(), Failure("error", detail))


def test_a_search_whose_first_trials_all_fail_by_the_same_error_gives_up_and_says_which():
    record = new_record()
    fail_early(record, ["no space left on device"] * 3)
    assert record.next_assignment() is None
    assert record.brake.fatal_error == "no space left on device"
    assert record.exhausted


def test_different_errors_of_single_configurations_do_not_end_a_search():
    record = new_record()
    fail_early(record, ["depth = 7 is too deep", "depth = 8 is too deep", "depth = 6 is too deep"])
    assert record.next_assignment().number == 3


def test_code_that_fails_at_the_same_place_for_all_ends_a_search_whatever_numbers_it_names():
    def fail(record, line, width):
        text = f'Traceback (most recent call last):\n  File "net.py", line {line}, in build\nValueError: {width}\n'
        record.report(record.next_assignment(), Failure("error", f"ValueError: {width}", traceback=text))

    record, other = new_record(), new_record()
    for width in (8, 16, 32):
        fail(record, 7, width)
        fail(other, width, width)  # each at another place
    assert record.next_assignment() is None
    assert record.brake.fatal_error == "ValueError: 32"
    assert other.next_assignment().number == 3


def test_a_trial_that_still_runs_may_prove_that_not_all_fail():
    record = new_record()
    healthy = record.next_assignment()
    fail_early(record, ["depth = 8 is too deep"] * 3)
    assert record.next_assignment() is None
    assert (record.brake.fatal_error, record.exhausted) == (None, False)
    record.report(healthy, report(1, 0.5))
    assert record.next_assignment().number == 4


def test_workers_that_are_all_lost_before_any_epoch_end_the_search_with_the_cause():
    record = new_record()
    for _ in range(3):
        record.lose(record.next_assignment(), "ModuleNotFoundError: No module named 'tuner'")
    assert record.next_assignment() is None
    assert "ModuleNotFoundError" in record.brake.fatal_error


def test_a_machine_that_takes_many_first_attempts_with_it_does_not_end_the_search():
    record = new_record(trials=20)
    for round_ in range(3):
        assert record.brake.fatal_error is None
        together = [record.next_assignment() for _ in range(8)]
        assert None not in together, round_
        for assignment in together:
            record.lose(assignment, "its node has died")
    assert record.next_assignment() is None  # but the third time is no accident
    assert "its node has died" in record.brake.fatal_error


def test_a_new_life_tries_again_what_failed_before():
    journal = MemoryJournal()
    fail_early(new_record(journal), ["no space left on device"] * 3)
    assert new_record(journal).next_assignment().number == 3


def test_divergence_alone_never_ends_a_search():
    record = new_record(trials=5)
    for _ in range(5):
        record.report(record.next_assignment(), Failure("diverged", "loss nan"))
    assert record.brake.fatal_error is None
