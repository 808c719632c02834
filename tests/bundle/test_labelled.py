from __future__ import annotations

from pathlib import Path

import pytest

from tuner.bundle.labelled import Labelled, list_labelled
from tuner.errors import DataError, UsageError

CLASSES = ("blue", "green", "red")


def make(root: Path, *names: str) -> Path:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return root


def test_a_folder_of_class_folders_is_taken_whole_and_classes_may_be_absent(tmp_path):
    make(tmp_path, "red/b.png", "red/a.jpg", "red/notes.txt", "green/deep/x.png", ".cache/y.png")
    assert list_labelled(tmp_path, CLASSES) == Labelled(
        (tmp_path / "green/deep/x.png", tmp_path / "red/a.jpg", tmp_path / "red/b.png"), (1, 2, 2), "all"
    )


@pytest.mark.parametrize(("splits", "taken"), [(("train", "val", "test"), "test"), (("train", "val"), "val")])
def test_of_a_folder_with_splits_the_test_pictures_are_taken_as_training_does(tmp_path, splits, taken):
    make(tmp_path, *(f"{split}/red/a.png" for split in splits))
    assert list_labelled(tmp_path, CLASSES) == Labelled((tmp_path / taken / "red/a.png",), (2,), f"{taken}/")


@pytest.mark.parametrize(
    ("text", "names", "which"),
    [
        ("file,label\na.png,red\nb.png,blue\n", ["a.png", "b.png"], "all"),
        ("file,label,split\na.png,red,train\nb.png,blue,val\n", ["b.png"], "lines whose split is val"),
        ("label,split,file\nred,train,a.png\nblue,test,b.png\n", ["b.png"], "lines whose split is test"),
    ],
)
def test_of_a_csv_file_the_test_lines_are_taken_else_val_else_all(tmp_path, text, names, which):
    make(tmp_path, "a.png", "b.png")
    (tmp_path / "list.csv").write_text(text)
    found = list_labelled(tmp_path / "list.csv", CLASSES)
    labels = tuple({"a.png": 2, "b.png": 0}[name] for name in names)
    assert found == Labelled(tuple(tmp_path / name for name in names), labels, which)


def test_a_class_that_the_model_does_not_know_is_named_with_those_that_it_knows(tmp_path):
    make(tmp_path, "red/a.png", "violet/b.png")
    with pytest.raises(UsageError, match="has the class 'violet', which the model does not know: it knows blue, green"):
        list_labelled(tmp_path, CLASSES)
    (tmp_path / "list.csv").write_text("file,label\nred/a.png,violet\n")
    with pytest.raises(UsageError, match=r"list\.csv has the class 'violet'"):
        list_labelled(tmp_path / "list.csv", CLASSES)


def test_a_folder_with_training_pictures_alone_is_not_measured_on_unasked(tmp_path):
    make(tmp_path, "train/red/a.png")
    with pytest.raises(UsageError, match=f"no test/ or val/: give {tmp_path}/train to measure on that"):
        list_labelled(tmp_path, CLASSES)


def test_what_is_no_data_set_or_empty_is_refused(tmp_path):
    (tmp_path / "red").mkdir()
    with pytest.raises(DataError, match="has no pictures in class folders"):
        list_labelled(tmp_path, CLASSES)
    for place in (tmp_path / "absent", make(tmp_path, "a.png") / "a.png"):
        with pytest.raises(UsageError, match=r"neither a folder of class folders nor a \.csv file"):
            list_labelled(place, CLASSES)
