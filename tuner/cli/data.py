"""`tuner data`: look at a data set, decode it ahead of time, find what is wrong with it, see what augmentation does."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tuner.cli.options import Json, StrictData
from tuner.errors import DataError
from tuner.settings import absolute, load_settings

if TYPE_CHECKING:
    from tuner.training.dataspec import DataSpec
    from tuner.training.decoding import Tell
    from tuner.training.survey import Survey

data = typer.Typer(
    help="Data sets: show what one consists of, check it, decode it ahead of time, see augmented samples.",
    no_args_is_help=True,
)

DATASET_HELP = (
    "digits, mnist, fashion_mnist, cifar10, cifar100, svhn; a folder with train/[val/]test/CLASS/ or CLASS/ folders of "
    "pictures; or a .csv file with the columns file,label[,split]."
)
IMAGE_SIZE_HELP = (
    "Side in pixels of the square that pictures become: the shorter side is resized to it, the centre cut out (default "
    "32 if all are that small, else 64)."
)

Dataset = Annotated[str, typer.Argument(metavar="DATASET", help=DATASET_HELP)]
DataDir = Annotated[
    Path | None,
    typer.Option(
        envvar="TUNER_DATA_DIR",
        help="Folder that holds NAME/train/CLASS/ of named data sets, and where they are downloaded to "
        "(default ~/.local/share/tuner/data).",
    ),
]
ImageSize = Annotated[int | None, typer.Option(envvar="TUNER_IMAGE_SIZE", help=IMAGE_SIZE_HELP)]
Seed = Annotated[int, typer.Option(envvar="TUNER_SEED", min=0, help="Of the choice of the validation pictures.")]

_CLASSES_SHOWN = 20
_FILES_SHOWN = 20


def register(app: typer.Typer) -> None:
    """Add the commands to the program."""
    app.add_typer(data, name="data")


@data.command()
def show(dataset: Dataset, data_dir: DataDir = None, image_size: ImageSize = None, as_json: Json = False) -> None:
    """What a data set consists of and what becomes of it: classes, splits, sizes, colours. Decodes nothing."""
    from tuner.training.cache import find_cached
    from tuner.training.remarks import about_balance, no_pictures
    from tuner.training.survey import survey

    spec = _spec(dataset, data_dir, image_size)
    with _progress(spec) as tell:
        seen = survey(spec, tell)
    cached = find_cached(spec, load_settings().cache)
    if as_json:
        typer.echo(json.dumps({**seen.as_dict(), "cache": None if cached is None else str(cached)}, indent=2))
        return
    typer.echo(f"{seen.name} ({seen.dataset}): {len(seen.classes)} classes")
    _show_classes(seen)
    typer.echo(f"validation: {seen.val_source}")
    typer.echo(f"test: {seen.test_source}")
    _show_pictures(seen)
    typer.echo(f"cache: {cached or 'not decoded yet, `tuner data prepare` does it ahead of a search'}")
    bad = no_pictures([(path, "not a picture") for path in seen.no_header], seen.others)
    balance = about_balance([*seen.classes], [counts["train"] for counts in seen.classes.values()])
    for note in (f"left out: {bad}" if bad else "", balance):
        if note:
            typer.echo(f"note: {note}")


@data.command()
def prepare(
    dataset: Dataset, data_dir: DataDir = None, image_size: ImageSize = None, strict_data: StrictData = False
) -> None:
    """Decode a data set into the cache ahead of a search: TUNER_CACHE, which machines may share, or this machine's.

    What was killed goes on where it stopped. Other machines use a shared cache as it is if they see the same files
    with the same times.
    """
    from tuner.training.cache import open_cached
    from tuner.training.remarks import about_balance

    spec = _spec(dataset, data_dir, image_size, strict=strict_data)
    with _progress(spec) as tell:
        cached = open_cached(spec, load_settings().cache, tell)
    _, height, width, channels = cached.images.shape
    typer.echo(
        f"{len(cached.images):,} pictures of {height} x {width} x {channels} ({cached.images.nbytes / 2**20:,.0f} MiB) "
        f"are in {cached.folder}"
    )
    info = cached.info(spec)
    for note in (*info.notes, about_balance(info.classes, info.train_counts)):
        if note:
            typer.echo(f"note: {note}")


@data.command()
def check(
    dataset: Dataset,
    data_dir: DataDir = None,
    image_size: ImageSize = None,
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """Look for what is wrong with a data set, its test pictures included.

    Exit code 1 if there are files that are no pictures, the same picture in two splits or under two labels, or too few
    pictures of a class. Copies within a split and unbalanced classes are only told.
    """
    from tuner.training.checks import check as find

    spec = _spec(dataset, data_dir, image_size, seed=seed)
    with _progress(spec) as tell:
        findings = find(spec, load_settings().cache, tell)
    wrong = any(finding.wrong for finding in findings)
    if as_json:
        entries = [finding.as_dict() for finding in findings]
        typer.echo(json.dumps({"dataset": spec.dataset, "wrong": wrong, "findings": entries}, indent=2))
    else:
        for finding in findings:
            typer.echo(f"{'BAD ' if finding.wrong else 'note'} {finding.text}")
            if finding.kind in ("unreadable", "not_a_picture"):
                for file in finding.files[:_FILES_SHOWN]:
                    typer.echo(f"       {file}")
                if len(finding.files) > _FILES_SHOWN:
                    typer.echo(f"       and {len(finding.files) - _FILES_SHOWN:,} more: --json has all")
        if not wrong:
            typer.echo(f"ok   nothing is wrong with {spec.default_name}")
    if wrong:
        raise typer.Exit(1)


@data.command()
def augment(
    dataset: Dataset,
    out: Annotated[Path, typer.Option(help="The PNG file to write.")],
    data_dir: DataDir = None,
    image_size: ImageSize = None,
) -> None:
    """Draw some training pictures under augmentation of strength 0, 0.25, 0.5 and 1, as training would see them."""
    from tuner.training.data import load_training_data
    from tuner.training.sheet import contact_sheet

    spec = _spec(dataset, data_dir, image_size)
    with _progress(spec) as tell:
        loaded = load_training_data(spec, load_settings().cache, "cpu", tell)
    sheet = contact_sheet(loaded)
    try:
        sheet.save(out, format="PNG")
    except OSError as error:
        raise DataError(f"cannot write {out}: {error.strerror or error}") from error
    mirrored = "mirrored at random, " if loaded.info.flip else ""
    typer.echo(f"{out}: {mirrored}the dimension `augment` of a space at 0, 0.25, 0.5 and 1, four draws each")


def _spec(
    dataset: str, data_dir: Path | None, image_size: int | None, *, seed: int = 0, strict: bool = False
) -> DataSpec:
    from tuner.training.dataspec import DataSpec, resolve_dataset

    folder = absolute(data_dir, load_settings().data_dir)
    return DataSpec(resolve_dataset(dataset), str(folder), image_size=image_size, seed=seed, strict=strict)


@contextmanager
def _progress(spec: DataSpec) -> Iterator[Tell]:
    """On standard error, so that the answer can be piped."""
    from rich.console import Console

    from tuner.databar import data_progress

    with data_progress(Console(stderr=True), spec.default_name) as tell:
        yield tell


def _show_classes(seen: Survey) -> None:
    from tuner.training.remarks import shown

    rows = [(shown(name), *(f"{count:,}" for count in counts.values())) for name, counts in seen.classes.items()]
    left = len(rows) - _CLASSES_SHOWN
    more = [(f"and {left} more: --json has all", "", "", "")] if left > 0 else []
    total = ("all", *(f"{seen.total(split):,}" for split in ("train", "val", "test")))
    lines = [("class", "train", "val", "test"), *rows[:_CLASSES_SHOWN], *more, total]
    width = max(len(name) for name, *_ in lines)
    for name, *counts in lines:
        typer.echo(f"  {name:<{width}}{''.join(f'{count:>9}' for count in counts)}".rstrip())


def _show_pictures(seen: Survey) -> None:
    def numbers(counts: dict[str, int]) -> str:
        return ", ".join(f"{count:,} {word}" for word, count in counts.items())

    words = [numbers(seen.formats)] if seen.formats else []
    words.append(numbers(seen.modes))
    sizes = [f"{width} x {height}" for width, height in dict.fromkeys((seen.smallest, seen.largest))]
    words.append(f"{' to '.join(sizes)} pixels")
    if seen.turned:
        words.append(f"{seen.turned:,} turned upright by EXIF")
    typer.echo(f"training side: {'; '.join(words)}")
    colours = "grey" if seen.channels == 1 else "RGB"
    resized = "none is resized"
    if seen.resized:
        resized = f"{seen.resized:,} are resized: the shorter side to {seen.height}, then the centre is cut out"
    typer.echo(f"decoded to: {seen.width} x {seen.height}, {colours}; {resized}")
