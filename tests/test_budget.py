"""Budgets as people write them, and what is refused."""

from __future__ import annotations

import pytest

from tests.factories import new_spec
from tuner.budget import Budget, newest_budget, parse_budget, refuse_other_device, short
from tuner.errors import UsageError
from tuner.spec import StudySpec


@pytest.mark.parametrize(
    ("text", "budget", "words", "again"),
    [
        ("20gpuh", Budget(20, "gpuh"), "20 GPU-hours", "20gpuh"),
        ("20 GPU-hours", Budget(20, "gpuh"), "20 GPU-hours", "20gpuh"),
        ("0.01cpuh", Budget(0.01, "cpuh"), "0.01 CPU-hours", "0.01cpuh"),
        (" 8  cpu hours ", Budget(8, "cpuh"), "8 CPU-hours", "8cpuh"),
        ("50 EUR at 2.5/gpuh", Budget(50, "gpuh", "EUR", 2.5), "50 EUR", "50EUR@2.5/gpuh"),
        ("50eur @ 2.5 eur per GPU-hour", Budget(50, "gpuh", "EUR", 2.5), "50 EUR", "50EUR@2.5/gpuh"),
        ("$50@$2.5/gpuh", Budget(50, "gpuh", "$", 2.5), "50 $", "50$@2.5/gpuh"),
        ("50 EUR at €2.5/gpuh", Budget(50, "gpuh", "EUR", 2.5), "50 EUR", "50EUR@2.5/gpuh"),
        ("1000 credits at 4/cpuh", Budget(1000, "cpuh", "credits", 4), "1000 credits", "1000credits@4/cpuh"),
    ],
)
def test_a_budget_is_read_as_people_write_it_and_written_as_it_is_read(text, budget, words, again):
    assert parse_budget(text) == budget
    assert (budget.words, str(budget)) == (words, again)
    assert parse_budget(str(budget)) == budget


def test_money_pays_for_so_many_hours():
    budget = parse_budget("50 EUR at 2.5/gpuh")
    assert budget.hours == 20
    assert budget.of(3.0) == "7.5"


@pytest.mark.parametrize(
    "text",
    [
        *("20gpu", "20", "gpuh", "50usd", "20 hours", "1,000gpuh", "-3gpuh", "50 EUR at 2.5", ""),
        *("9 EUR at 1 USD/gpuh", "$50 at €2.5/gpuh", "$50 at 2.5€/gpuh", "50 EUR at $2.5/gpuh", "$50 at $2.5 eur/gpuh"),
    ],
)
def test_anything_else_is_one_line_with_the_value_and_what_to_write(text):
    with pytest.raises(UsageError, match=r"not understood: .*20gpuh.*8cpuh.*50 EUR at 2.5/gpuh") as refused:
        parse_budget(text)
    assert repr(text) in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("text", ["0gpuh", "0 EUR at 2/gpuh", "5 EUR at 0/gpuh"])
def test_a_budget_of_nothing_and_a_price_of_nothing_are_refused(text):
    with pytest.raises(UsageError, match="above 0"):
        parse_budget(text)


def test_a_larger_sum_needs_no_price_again_but_another_currency_does():
    earlier = parse_budget("50 EUR at 2.5/gpuh")
    assert parse_budget("80 eur", earlier) == Budget(80, "gpuh", "EUR", 2.5)
    assert parse_budget("80 EUR at 3/gpuh", earlier).price == 3
    with pytest.raises(UsageError, match="not understood"):
        parse_budget("80 usd", earlier)


@pytest.mark.parametrize("text", ["20gpuh", "0.01cpuh", "50 EUR at 2.5/gpuh", "$3 at 1/gpuh"])
def test_the_larger_budget_that_is_proposed_is_one(text):
    budget = parse_budget(text)
    assert parse_budget(budget.larger(0.0), budget).hours == pytest.approx(1.5 * budget.hours, rel=0.05)


@pytest.mark.parametrize(
    ("text", "spent_h", "larger"),
    [("10gpuh", 20.0, "30gpuh"), ("0.01gpuh", 0.222, "0.33gpuh"), ("5 EUR at 2/gpuh", 10.0, "30EUR")],
)
def test_the_larger_budget_is_above_what_was_spent_already(text, spent_h, larger):
    assert parse_budget(text).larger(spent_h) == larger


def test_a_budget_of_what_is_not_used_is_refused():
    refuse_other_device("20gpuh", gpus=True)
    refuse_other_device("", gpus=True)
    with pytest.raises(UsageError, match=r"20gpuh counts GPU-hours, but this search trains on CPUs: .*--budget 20cpuh"):
        refuse_other_device("20gpuh", gpus=False)
    with pytest.raises(UsageError, match="trains on GPUs"):
        refuse_other_device("3EUR@1/cpuh", gpus=True)


def test_the_budget_of_the_newest_driver_counts():
    assert newest_budget("", {}) == ""
    assert newest_budget("2gpuh", {"life": 3}) == "2gpuh"
    assert newest_budget("2gpuh", {"budget:9": "3gpuh", "budget:10": "4gpuh"}) == "4gpuh"


def test_amounts_are_short():
    assert [short(amount) for amount in (0, 0.004821, 0.5, 19.84, 20.0, 99.96, 1234.5)] == [
        "0",
        "0.00482",
        "0.5",
        "19.8",
        "20",
        "100",
        "1234",
    ]


def test_a_spec_keeps_its_budget_and_refuses_one_that_is_none():
    spec = new_spec(budget="50EUR@2.5/gpuh")
    assert StudySpec.from_json(spec.to_json()) == spec
    with pytest.raises(UsageError, match="not understood"):
        new_spec(budget="much")
