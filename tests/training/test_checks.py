from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tuner.errors import UsageError
from tuner.training.cache import describe
from tuner.training.checks import Finding, check
from tuner.training.dataspec import DataSpec
from tuner.training.remarks import about_balance


@pytest.fixture
def pets(make_folder) -> Path:
    return make_folder({f"{split}/{name}": 4 for split in ("train", "val", "test") for name in ("cat", "dog")})


def _check(root: Path, tmp_path: Path) -> list[Finding]:
    return check(DataSpec(str(root), ""), tmp_path / "cache")


def test_in_a_clean_data_set_nothing_is_found(pets: Path, tmp_path: Path) -> None:
    assert _check(pets, tmp_path) == []
    assert check(DataSpec("digits", str(tmp_path)), tmp_path / "cache") == []


@pytest.mark.parametrize(
    ("first", "second"), [("training", "validation"), ("training", "test"), ("validation", "test")]
)
def test_the_same_pixels_in_two_splits_are_a_leak_with_an_example(
    pets: Path, tmp_path: Path, first: str, second: str
) -> None:
    folders = {"training": "train", "validation": "val", "test": "test"}
    original = pets / folders[first] / "cat/002.png"
    for number in (7, 8):
        shutil.copy(original, pets / folders[second] / f"cat/{number}.png")
    leak, copies = _check(pets, tmp_path)
    pair = (f"{folders[second]}/cat/7.png", f"{folders[first]}/cat/002.png")
    assert leak == Finding(
        "leak",
        True,
        2,
        f"leak: 2 of 10 {second} pictures have the same pixels as a {first} picture, such as {pair[0]} and {pair[1]}",
        pair,
    )
    assert (copies.kind, copies.wrong, copies.count) == ("copies", False, 1)


def test_a_search_is_told_of_a_leak_into_the_validation_pictures(pets: Path, tmp_path: Path) -> None:
    shutil.copy(pets / "train/cat/002.png", pets / "val/cat/7.png")
    (note,) = describe(DataSpec(str(pets), ""), tmp_path / "cache").notes
    assert note.startswith("1 of 9 validation pictures has the same pixels as training pictures")


def test_the_same_pixels_under_two_labels_and_copies_in_a_split_are_found(pets: Path, tmp_path: Path) -> None:
    shutil.copy(pets / "train/cat/002.png", pets / "train/dog/7.png")
    shutil.copy(pets / "test/cat/000.png", pets / "test/cat/9.png")
    found = _check(pets, tmp_path)
    assert [(finding.kind, finding.wrong, finding.count, finding.files) for finding in found] == [
        ("two_labels", True, 1, ("train/dog/7.png", "train/cat/002.png")),
        ("copies", False, 2, ("train/dog/7.png", "train/cat/002.png")),
    ]


def test_files_that_are_no_pictures_are_listed_whole_with_their_reasons(pets: Path, tmp_path: Path) -> None:
    for path in ("train/cat/a.jpg", "val/dog/b.jpg", "test/cat/c.jpg"):
        (pets / path).touch()
    for path in ("train/dog/Readme", "test/dog/x.heic"):
        (pets / path).touch()
    unreadable, others = _check(pets, tmp_path)
    assert unreadable.files == ("train/cat/a.jpg (empty)", "val/dog/b.jpg (empty)", "test/cat/c.jpg (empty)")
    assert others.files == ("train/dog/Readme", "test/dog/x.heic")
    assert (unreadable.kind, unreadable.wrong, others.kind, others.wrong) == ("unreadable", True, "not_a_picture", True)


def test_a_name_cannot_write_to_the_terminal(pets: Path, tmp_path: Path) -> None:
    (pets / "train/cat/\x1b[2J\udce9.jpg").touch()
    (finding,) = _check(pets, tmp_path)
    assert finding.files == ("train/cat/?[2J?.jpg (empty)",)


def test_unbalanced_classes_are_told_in_one_line_and_are_no_mistake(make_folder, tmp_path: Path) -> None:
    root = make_folder({"train/cat": 30, "train/dog": 10, "test/cat": 1, "val/dog": 1})
    (finding,) = _check(root, tmp_path)
    assert (finding.kind, finding.wrong) == ("unbalanced", False)
    assert "'cat' has 30 training pictures, 'dog' 10 (3.0 times as many)" in finding.text
    info = describe(DataSpec(str(root), ""), tmp_path / "cache")
    assert (info.notes, info.train_counts) == ((), (30, 10)), "whether it matters depends on the score"


def test_classes_are_unbalanced_from_twice_the_pictures_on_and_the_line_says_what_to_do() -> None:
    assert about_balance(("a", "b", "c"), (199, 150, 100)) == ""
    assert about_balance(("a", "b", "c"), (1200, 150, 600)) == (
        "unbalanced classes: 'a' has 1,200 training pictures, 'b' 150 (8.0 times as many), and accuracy tells little "
        "of small classes; with --objective val_balanced_accuracy all count the same in the score, --set "
        "class_weight=balanced in training"
    )
    assert about_balance(("a", "b"), (20, 10), weighted=True).endswith("all count the same in the score")


def test_too_few_pictures_and_a_test_split_without_any_are_findings_too(make_folder, tmp_path: Path) -> None:
    root = make_folder({"train/cat": 30, "train/dog": 2, "test/cat": 0})
    (few,) = _check(root, tmp_path)
    assert (few.kind, few.wrong) == ("unusable", True)
    assert "class 'dog'" in few.text
    shutil.copy(root / "train/cat/000.png", root / "train/dog/x.png")
    kinds = [finding.kind for finding in _check(root, tmp_path)]
    assert kinds == ["unusable", "two_labels", "copies", "unbalanced"]


def test_a_data_set_that_is_not_there_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no data set"):
        _check(tmp_path / "gone", tmp_path)
