"""The frozen spec: checked, canonical, and readable only in the format that this version knows."""

import dataclasses
import json

import pytest

from tests.factories import new_space, new_spec
from tuner.errors import StoreError, UsageError
from tuner.spec import StudySpec


def test_a_spec_survives_the_store():
    spec = new_spec(time_budget_s=60.0)
    assert StudySpec.from_json(spec.to_json()) == spec


def test_the_dimensions_keep_their_order_in_which_the_sampler_draws_them():
    space = new_spec().space
    spec = new_spec(space=new_space(dimensions=dict(reversed(space.dimensions.items()))))
    assert list(StudySpec.from_json(spec.to_json()).space.dimensions) == ["norm", "width", "lr"]


def test_equal_specs_have_equal_text_and_different_ones_do_not():
    assert new_spec().to_json() == new_spec().to_json()
    assert new_spec(seed=1).to_json() != new_spec().to_json()


def test_a_spec_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        new_spec().trials = 3


@pytest.mark.parametrize("key", ["trials", "max_epochs", "grace_period"])
def test_a_number_that_makes_no_search_is_refused_by_name(key):
    with pytest.raises(UsageError, match=f"{key.replace('_', '-')} = 0 is too small"):
        new_spec(**{key: 0})


def test_a_time_budget_of_nothing_is_refused():
    with pytest.raises(UsageError, match="time-budget"):
        new_spec(time_budget_s=0)


@pytest.mark.parametrize("text", ["", "null", "[]", "{}", "not json", '{"format": 1}', '{"format": 1, "trials": 3}'])
def test_anything_that_is_no_spec_is_one_clear_line(text):
    with pytest.raises(StoreError, match="the study's spec in the store"):
        StudySpec.from_json(text)


def test_another_format_is_named_with_the_one_that_can_be_read():
    content = {**json.loads(new_spec().to_json()), "format": 99}
    with pytest.raises(StoreError, match="has format 99, this version of tuner reads format 1"):
        StudySpec.from_json(json.dumps(content))


def test_rungs_follow_from_the_numbers():
    assert new_spec(max_epochs=27, grace_period=1, reduction_factor=3).rungs() == (1, 3, 9)
