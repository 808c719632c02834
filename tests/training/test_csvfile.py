from __future__ import annotations

import os
from pathlib import Path

import pytest

from tuner.errors import DataError
from tuner.training.cache import describe, open_cached
from tuner.training.csvfile import open_csv
from tuner.training.dataspec import DataSpec, resolve_dataset
from tuner.training.files import Picture
from tuner.training.testsplit import load_test_split


def _csv(folder: Path, text: str) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "labels.csv").write_text(text, encoding="utf-8")
    return folder / "labels.csv"


def _lines(*rows: str) -> str:
    return "\n".join(("file,label,split", *rows))


SIX = [f"{name}/{n}.png,{name},train" for name in ("cat", "dog") for n in range(3)]


def test_each_split_keeps_the_order_of_its_lines_and_labels_are_sorted(tmp_path: Path) -> None:
    rows = [*SIX[::-1], "v.png,cat,val", "t2.png,dog,test", "t1.png,cat,TEST"]
    source = open_csv(_csv(tmp_path, _lines(*rows)))
    assert source.root == tmp_path
    assert source.classes == ("cat", "dog")
    assert source.train == tuple(
        Picture(f"{name}/{n}.png", label) for label, name in ((1, "dog"), (0, "cat")) for n in (2, 1, 0)
    )
    assert source.val == (Picture("v.png", 0),)
    assert source.set_aside == (Picture("t2.png", 1), Picture("t1.png", 0))


def test_without_test_lines_the_validation_lines_are_the_test_split(tmp_path: Path) -> None:
    source = open_csv(_csv(tmp_path, _lines(*SIX, "v.png,cat,val")))
    assert (source.val, source.set_aside) == ((), (Picture("v.png", 0),))


def test_without_a_split_column_15_percent_of_each_label_are_set_aside(tmp_path: Path) -> None:
    rows = [f"{n}.png,{label}" for label in ("a", "b") for n in range(20 if label == "a" else 40)]
    path = _csv(tmp_path, "file,label\n" + "\n".join(f"{row.split(',')[1]}{row}" for row in rows))
    source = open_csv(path)
    assert [sum(picture.label == label for picture in source.set_aside) for label in (0, 1)] == [3, 6]
    assert not set(source.train) & set(source.set_aside)


def test_what_a_spreadsheet_writes_is_understood(tmp_path: Path) -> None:
    lines = ["\ufeffId,File , LABEL,remark", *(f'{n},"cat/{n}.png", cat{n % 2} ,"a, b"' for n in range(8))]
    source = open_csv(_csv(tmp_path, "\r\n".join(lines) + "\r\n\r\n"))
    assert source.classes == ("cat0", "cat1")
    assert "cat/1.png" in [picture.path for picture in (*source.train, *source.set_aside)]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (["../x.png,cat,train"], r"line 8: '\.\./x\.png' is not in the folder of the CSV file"),
        (["a/../../x.png,cat,train"], r"line 8: '\.\./x\.png' is not in the folder"),
        (["/etc/passwd,cat,test"], r"line 8: '/etc/passwd' is not in the folder"),
        (["out/x.png,cat,train"], r"line 8: 'out/x\.png' is not in the folder"),
        (["link.png,cat,test"], r"line 8: 'link\.png' is not in the folder"),
        (["a\0.png,cat,train"], r"line 8: 'a\\x00\.png' is no path"),
        ([",cat,train"], "line 8: the file is empty"),
        (["x.png,,train"], "line 8: the label is empty"),
        (["x.png,cat,training"], "line 8: the split 'training' must be one of train, val, test"),
        (["x.png,cat"], "line 8: 2 cells where the first line has 3"),
        (["x.png,cow,test"], "line 8: the label 'cow' is on no training line"),
        (["./cat/0.png,dog,test"], r"line 8: 'cat/0\.png' is on line 2 already"),
        (["t.png,cat,test", "cow.png,cow,train"], "class 'cow' of .*csv has 1 training picture: at least 3"),
        (['"x.png,cat,train'], "is no CSV file in UTF-8"),
    ],
)
def test_a_line_that_cannot_be_right_is_named(tmp_path: Path, rows: list[str], message: str) -> None:
    folder = tmp_path / "set"
    path = _csv(folder, _lines(*SIX, *rows))
    (folder / "out").symlink_to(tmp_path)
    (tmp_path / "secret.png").write_bytes(b"x")
    (folder / "link.png").symlink_to(tmp_path / "secret.png")
    with pytest.raises(DataError, match=message) as caught:
        open_csv(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "must begin with a line that names its columns"),
        (b"path,class\na.png,cat\n", "it begins with 'path,class'"),
        (b"file,label\n", "has 0 labels among its training lines: at least 2"),
        (b"file,label\n\xff\xfe.png,cat\n", "is no CSV file in UTF-8"),
    ],
)
def test_a_file_that_is_no_such_list_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "labels.csv").write_bytes(content)
    with pytest.raises(DataError, match=message):
        open_csv(tmp_path / "labels.csv")


def test_a_list_of_a_folders_pictures_is_decoded_as_the_folder_is(make_folder, tmp_path: Path) -> None:
    root = make_folder({"train/cat": 5, "train/dog": 5, "test/cat": 2, "test/dog": 1})
    rows = [f"{path.relative_to(root)},{path.parent.name},{path.parts[-3]}" for path in sorted(root.rglob("*.png"))]
    spec = DataSpec(resolve_dataset(str(_csv(root, _lines(*rows)))), "")
    folder = DataSpec(str(root), "")
    assert spec.default_name == "labels"
    described = describe(spec, tmp_path / "cache")
    assert described.fingerprint == describe(folder, tmp_path / "cache").fingerprint
    test, same = (load_test_split(each, tmp_path / "cache") for each in (spec, folder))
    assert (test.labels.tolist(), test.paths) == (same.labels.tolist(), same.paths)
    assert (test.images == same.images).all()


def test_another_label_for_the_same_file_is_noticed(make_folder, tmp_path: Path) -> None:
    root = make_folder({"cat": 5, "dog": 5})
    rows = [f"{path.relative_to(root)},{path.parent.name},train" for path in sorted(root.rglob("*.png"))]
    spec = DataSpec(str(_csv(root, _lines(*rows))), "")
    before = open_cached(spec, tmp_path / "cache")
    _csv(root, _lines(*rows).replace("cat/000.png,cat", "cat/000.png,dog"))
    after = open_cached(spec, tmp_path / "cache")
    assert before.fingerprint != after.fingerprint
    assert (after.labels.sum() - before.labels.sum()) in (0, 1)  # 0 if that picture is now set aside


def test_a_picture_that_is_listed_and_not_there_is_named(make_folder, tmp_path: Path) -> None:
    root = make_folder({"cat": 3, "dog": 3})
    rows = [f"{path.relative_to(root)},{path.parent.name},train" for path in sorted(root.rglob("*.png"))]
    _csv(root, _lines(*rows, "t.png,cat,test"))
    os.unlink(root / "dog/001.png")
    with pytest.raises(DataError, match=r"cannot read .*dog/001\.png: No such file"):
        describe(DataSpec(str(root / "labels.csv"), ""), tmp_path / "cache")
