"""Whatever a file, a key or a name holds: it is read correctly, or refused in one clear line; never anything else."""

from __future__ import annotations

import json
import re
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.factories import new_spec
from tuner import snapshot
from tuner.errors import DataError, StoreError, TunerError, UsageError
from tuner.space import Space, parse_space
from tuner.spec import StudySpec
from tuner.store.journal import MemoryJournal
from tuner.store.keys import check_name
from tuner.store.snapshot import pack, tie
from tuner.study import read_study
from tuner.training import config
from tuner.training.cache import describe
from tuner.training.dataspec import DataSpec

# The same examples at each run: a test that fails now and then names no change.
fixed = settings(
    derandomize=True, deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
NUMBERS = st.one_of(st.integers(-10, 10_000), st.floats(), st.booleans(), st.sampled_from([0.1, 1, 3, 16, 64]))
VALUES = st.one_of(NUMBERS, st.text(max_size=8), st.lists(NUMBERS, max_size=3), st.sampled_from(["relu", "batch"]))
NAMES = st.one_of(st.sampled_from([*config.Hyperparameters().as_dict(), "space"]), st.text(max_size=8))
DIMENSION = st.fixed_dictionaries(
    {},
    optional={
        "type": st.sampled_from(["float", "int", "choice", "real", 3]),
        "low": VALUES,
        "high": VALUES,
        "log": VALUES,
        "step": VALUES,
        "choices": VALUES,
        "what": VALUES,
    },
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=12,
)


def toml_value(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(key)} = {toml_value(entry)}" for key, entry in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(toml_value, value)) + "]"
    return json.dumps(value) if isinstance(value, str) else str(value)


def one_line(error: TunerError) -> bool:
    return len(str(error).splitlines()) == 1


@fixed
@given(st.dictionaries(NAMES, DIMENSION, max_size=3), st.dictionaries(NAMES, VALUES, max_size=2))
def test_a_space_file_is_a_space_that_optuna_and_json_take_or_a_refusal(dimensions, constants):
    text = f"space = {toml_value(dimensions)}\nconstants = {toml_value(constants)}"
    try:
        space = parse_space(text, source="fuzz.toml")
    except UsageError as error:
        assert str(error).startswith("fuzz.toml")
        assert one_line(error)
        return
    assert Space(**json.loads(json.dumps(space.as_dict(), allow_nan=False))) == space
    assert set(space.distributions()) == set(dimensions)


@fixed
@given(st.text())
def test_text_that_is_no_toml_is_refused(text):
    try:
        parse_space(text, source="fuzz.toml")
    except UsageError as error:
        assert one_line(error)


@fixed
@given(JSON)
def test_a_stored_spec_is_read_or_refused(content):
    with pytest.raises(StoreError) as refusal:
        StudySpec.from_json(json.dumps(content))
    assert one_line(refusal.value)


@fixed
@given(st.sampled_from(sorted(json.loads(new_spec().to_json()))), JSON)
def test_a_spec_with_one_foreign_entry_is_read_or_refused(key, value):
    content = {**json.loads(new_spec().to_json()), key: value}
    try:
        spec = StudySpec.from_json(json.dumps(content))
    except TunerError as error:
        assert one_line(error)
        return
    assert StudySpec.from_json(spec.to_json()) == spec


ENTRIES = st.dictionaries(
    st.sampled_from(["op_code", "worker_id", "study_id", "trial_id", "state", "values", "step", "params", "user_attr"]),
    st.one_of(st.integers(-1, 12), JSON),
    max_size=7,
)


@fixed
@given(st.lists(ENTRIES, max_size=4))
def test_a_journal_with_foreign_entries_is_read_or_refused(entries):
    journal = MemoryJournal()
    journal.append_logs([{"op_code": 0, "worker_id": "w", "study_name": "test", "directions": [2]}, *entries])
    try:
        read_study(new_spec(), journal, None)
    except StoreError as error:
        assert one_line(error)


class Planted:
    """A Redis with a journal of one entry and somebody's snapshot."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.entry = '{"directions":[2],"op_code":0,"study_name":"test","worker_id":"w"}'

    def strlen(self, _key: str) -> int:
        return len(self.text)

    def get(self, _key: str) -> str:
        return self.text

    def lindex(self, _key: str, _index: int) -> str:
        return self.entry

    def lrange(self, _key: str, start: int, _end: int) -> list[str]:
        return [self.entry][start:]


@fixed
@given(st.lists(st.one_of(JSON, st.lists(JSON, max_size=20)), max_size=3), st.one_of(JSON, st.just({})))
def test_a_foreign_snapshot_is_read_or_left_alone(trials, attributes):
    content = {"format": 1, "fields": snapshot._FIELDS, "entries": 1, "attributes": attributes, "trials": trials}
    text = json.dumps({**content, "tie": tie(Planted("").entry, Planted("").entry)})
    planted = Planted(pack([text.encode()]).decode())
    study = snapshot.study_by_snapshot(planted, new_spec(), None)
    if study is not None:
        json.dumps([study.status(), *(trial.as_dict() for trial in study.trials)])


@fixed
@given(st.text(max_size=80))
def test_a_study_name_is_accepted_only_if_it_can_be_a_key_and_a_folder(name):
    try:
        accepted = check_name(name)
    except UsageError as error:
        assert one_line(error)
        return
    assert re.fullmatch(r"[a-z0-9][a-z0-9_.-]{0,63}", accepted)


PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d49484452000000040000000408020000002693092900000013494441547801636820"
    "0a2303c0f5a4f30f000c3c00fdd1b41d590000000049454e44ae426082"
)


@settings(fixed, max_examples=40)
@given(
    st.one_of(st.binary(max_size=200), st.integers(0, len(PNG) - 1).map(lambda at: PNG[:at] + b"\xff" + PNG[at + 1 :]))
)
def test_a_picture_file_is_decoded_or_named(content):
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder, "pictures")
        for label in ("cat", "dog"):
            (root / "train" / label).mkdir(parents=True)
            for number in range(4):
                (root / "train" / label / f"{number}.png").write_bytes(content)
        (root / "test" / "cat").mkdir(parents=True)
        try:
            info = describe(DataSpec(dataset=str(root), data_dir=folder), Path(folder, "cache"))
        except DataError as error:
            assert one_line(error)
            assert ".png" in str(error)
            # never a partial cache
            assert [path for path in Path(folder, "cache").glob("*") if not path.name.startswith(".")] == []
        else:
            assert info.train_size + info.val_size == 8
