"""A CSV file that names pictures and their labels. Opens no picture.

    file,label[,split]          a header, then a line per picture; more columns may follow and are ignored
    cats/001.jpg,cat,train      in UTF-8

`file` is relative to the CSV's folder and may not leave it, not by a link either. `split` is train, val or test.
The rules are those of folders: without test lines the val lines are the test split, without either (or without the
column) 15 % of each label are set aside, chosen by name.
"""

from __future__ import annotations

import csv
import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from tuner.errors import DataError, first_line
from tuner.training.files import SET_ASIDE_SOURCE, FileSource, Picture, refuse_small_classes, set_test_aside

SPLITS = ("train", "val", "test")


class Row(NamedTuple):
    """A line that names a picture; `split` is one of `SPLITS`, train where the file has no such column."""

    line: int
    file: str
    label: str
    split: str


def open_csv(path: Path) -> FileSource:
    """Read the list of pictures.

    Raises DataError if it cannot be read, a line of it is not understood, leaves the folder or names a picture again,
    it has fewer than two labels, or a label with fewer than 3 training pictures.
    """
    rows = read_rows(path)
    classes = tuple(sorted({row.label for row in rows if row.split == "train"}))
    if len(classes) < 2:
        raise DataError(f"{path} has {len(classes)} labels among its training lines: at least 2 are needed")
    labels = {name: label for label, name in enumerate(classes)}
    parts: dict[str, tuple[Picture, ...]] = {}
    for split in SPLITS:
        chosen = [row for row in rows if row.split == split]
        for row in chosen:
            if row.label not in labels:
                raise DataError(f"{path}, line {row.line}: the label {row.label!r} is on no training line")
        parts[split] = tuple(Picture(row.file, labels[row.label]) for row in chosen)
    train, val, left = parts["train"], parts["val"], ""
    if parts["test"]:
        test, test_source = parts["test"], "the lines of the CSV file whose split is test"
    elif val:
        test, val, test_source = val, (), "the lines of the CSV file whose split is val (it has no test lines)"
    else:
        train, test = set_test_aside(train)
        test_source, left = SET_ASIDE_SOURCE, " left after the test split was set aside"
    refuse_small_classes(path, classes, (picture.label for picture in train), left)
    return FileSource(path.parent, classes, train, val, test, None, test_source)


def read_rows(path: Path) -> list[Row]:
    """All lines. Raises DataError if it cannot be read, or a line is not understood, leaves the folder or names a
    picture again."""
    rows = list(_read(path))
    _refuse_bad_paths(path, rows)
    return rows


def _read(path: Path) -> Iterator[Row]:
    try:
        # Spreadsheets begin a file with a byte order mark.
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.reader(file, strict=True)
            header = [name.strip().lower() for name in next(reader, [])]
            if "file" not in header or "label" not in header:
                raise DataError(
                    f"{path} must begin with a line that names its columns, file,label or file,label,split: it begins "
                    f"with {','.join(header)[:80]!r}"
                )
            columns = [header.index(name) if name in header else None for name in ("file", "label", "split")]
            for cells in reader:
                if cells:
                    yield _parse(path, reader.line_num, cells, len(header), columns)
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror or error}") from error
    except (csv.Error, UnicodeDecodeError) as error:
        raise DataError(f"{path} is no CSV file in UTF-8 ({first_line(error)})") from error


def _parse(path: Path, line: int, cells: list[str], width: int, columns: list[int | None]) -> Row:
    if len(cells) != width:
        raise DataError(f"{path}, line {line}: {len(cells)} cells where the first line has {width}")
    file, label, split = ("train" if column is None else cells[column].strip() for column in columns)
    if not file or not label:
        raise DataError(f"{path}, line {line}: the {'label' if file else 'file'} is empty")
    if "\0" in file:
        raise DataError(f"{path}, line {line}: {file!r} is no path")
    if split.lower() not in SPLITS:
        raise DataError(f"{path}, line {line}: the split {split!r} must be one of {', '.join(SPLITS)}")
    return Row(line, os.path.normpath(file), label, split.lower())


def _refuse_bad_paths(path: Path, rows: list[Row]) -> None:
    """A list that somebody else wrote must not have the program open, cache or export what lies elsewhere."""
    root = os.path.realpath(path.parent)
    folders: dict[str, str] = {}
    seen: dict[str, int] = {}
    for row in rows:
        place = os.path.join(root, row.file)
        folder, name = os.path.split(place)
        if folder not in folders:
            folders[folder] = os.path.realpath(folder)
        real = os.path.join(folders[folder], name)
        if os.path.islink(real):
            real = os.path.realpath(real)
        if not real.startswith(root.rstrip(os.sep) + os.sep):
            raise DataError(
                f"{path}, line {row.line}: {row.file!r} is not in the folder of the CSV file, which its pictures may "
                "not leave: put the CSV file above them"
            )
        if real in seen:
            raise DataError(f"{path}, line {row.line}: {row.file!r} is on line {seen[real]} already")
        seen[real] = row.line
