from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from tests.trained import write_colours
from tuner.bundle.evaluating import Mistake, confusions, evaluate
from tuner.bundle.predict import Prediction
from tuner.cli import app
from tuner.errors import DataError


class Scripted:
    """A classifier that says of each file what its name says: `blue-0.7.png` is blue with probability 0.7."""

    classes = ("blue", "green", "red")

    def predict(self, paths):
        for path in paths:
            name, _, probability = path.stem.partition("-")
            if name == "broken":
                yield Prediction(path, None, "not a picture")
                continue
            row = np.full(3, (1 - float(probability)) / 2, np.float32)
            row[self.classes.index(name)] = float(probability)
            yield Prediction(path, row)


@pytest.fixture
def scripted(tmp_path: Path) -> Path:
    names = ("red/red-0.9", "red/red-0.8", "red/blue-0.7", "red/blue-0.95", "blue/blue-0.6", "blue/broken-0")
    for name in names:
        path = tmp_path / f"{name}.png"
        path.parent.mkdir(exist_ok=True)
        path.touch()
    return tmp_path


def test_the_numbers_are_those_of_the_definitions_over_the_classes_that_have_pictures(scripted):
    found = evaluate(Scripted(), scripted)
    assert (found.which, found.pictures, found.accuracy) == ("all", 5, 3 / 5)
    assert found.confusion_matrix == [[1, 0, 0], [0, 0, 0], [2, 0, 2]]
    assert found.per_class["red"] == {"precision": 1.0, "recall": 0.5, "f1": pytest.approx(2 / 3), "support": 4}
    assert found.per_class["blue"] == {"precision": pytest.approx(1 / 3), "recall": 1.0, "f1": 0.5, "support": 1}
    assert found.per_class["green"]["support"] == 0
    assert (found.precision, found.recall) == (pytest.approx(2 / 3), 0.75)
    assert found.f1 == pytest.approx((2 / 3 + 0.5) / 2)
    assert confusions(found) == [("red", "blue", 2)]


def test_mistakes_come_with_the_most_confident_first_and_broken_files_are_named(scripted):
    found = evaluate(Scripted(), scripted)
    assert found.mistakes == (
        Mistake("red/blue-0.95.png", "red", "blue", pytest.approx(0.95)),
        Mistake("red/blue-0.7.png", "red", "blue", pytest.approx(0.7)),
    )
    assert found.left_out == (("blue/broken-0.png", "not a picture"),)


def test_where_nothing_can_be_read_there_is_nothing_to_measure(tmp_path):
    (tmp_path / "red").mkdir()
    (tmp_path / "red" / "broken-0.png").touch()
    with pytest.raises(DataError, match=r"none of the 1 files at .* red/broken-0\.png \(not a picture\)"):
        evaluate(Scripted(), tmp_path)


def test_the_command_tells_a_person_and_a_program_the_same(colour_bundle, tmp_path):
    write_colours(tmp_path / "colours", each=3)
    # A red picture that lies among the blue ones, and a file that is none.
    Image.new("RGB", (30, 30), (255, 20, 20)).save(tmp_path / "colours" / "blue" / "wrong.png")
    (tmp_path / "colours" / "red" / "broken.png").write_bytes(b"no")
    command = ["evaluate", str(colour_bundle), str(tmp_path / "colours")]
    told = CliRunner().invoke(app, command)
    found = json.loads(CliRunner().invoke(app, [*command, "--json"]).stdout)
    assert (told.exit_code, found["pictures"], found["which"]) == (0, 10, "all")
    assert found["left_out"] == [{"file": "red/broken.png", "reason": "not a picture"}]
    assert found["accuracy"] == pytest.approx(1 - len(found["mistakes"]) / 10)
    assert {"file": "blue/wrong.png", "label": "blue", "predicted": "red"}.items() <= next(
        one for one in found["mistakes"] if one["file"] == "blue/wrong.png"
    ).items()
    lines = told.stdout.splitlines()
    assert lines[0] == (
        f"10 pictures (all, 1 left out): accuracy {found['accuracy']:.4f}, F1 (macro) {found['f1']:.4f}"
    )
    assert any(line.endswith("blue/wrong.png: blue called red") for line in lines)
    first = next(index for index, line in enumerate(lines) if line.startswith("confusion matrix")) + 2
    assert [[int(cell) for cell in line.split()[1:4]] for line in lines[first : first + 3]] == found["confusion_matrix"]
    assert told.stderr == "left out: red/broken.png (not a picture)\n"


def test_the_keys_of_the_json_are_documented(scripted):
    page = (Path(__file__).parent.parent.parent / "docs" / "deploying.md").read_text()
    (documented,) = re.findall(r"`\{(which, .*?)\}`\)", page, re.DOTALL)
    keys = set(re.findall(r"\w+", re.sub(r"\[.*?\]", "", documented, flags=re.DOTALL)))
    assert keys == set(evaluate(Scripted(), scripted).as_dict())
