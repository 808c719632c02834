"""What is told of a data set before anybody trusts a score on it, in words that its notes and checks share."""

from __future__ import annotations

from collections.abc import Sequence

UNBALANCED = 2.0
"""The largest class by the smallest, in training pictures, from which on a data set is called unbalanced: with two
classes, to say the larger one of every picture is then right two times in three."""

_NAMED_AT_MOST = 3


def plural(count: int, noun: str) -> str:
    """`1 file`, `2,345 files`."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def has(count: int) -> str:
    """The verb after so many."""
    return "has" if count == 1 else "have"


def shown(path: str) -> str:
    """A path as it may go to a terminal: whoever made the data set chose its bytes."""
    return "".join(letter if letter.isprintable() else "?" for letter in path)


def no_pictures(skipped: Sequence[tuple[str, str]], others: Sequence[str]) -> str:
    """`2 files that are no pictures: a.png (empty), b.txt (not named as a picture)`, of `skipped` with their reasons
    and `others`. Empty if there are none."""
    named = [f"{shown(path)} ({reason})" for path, reason in skipped]
    named += [f"{shown(path)} (not named as a picture)" for path in others]
    if not named:
        return ""
    more = f" and {len(named) - _NAMED_AT_MOST:,} more" if len(named) > _NAMED_AT_MOST else ""
    what = "file that is no picture" if len(named) == 1 else "files that are no pictures"
    return f"{len(named):,} {what}: {', '.join(named[:_NAMED_AT_MOST])}{more}"


def about_copies(leaked: int, val_size: int) -> str:
    """How far the validation score is too good."""
    return (
        f"{leaked:,} of {plural(val_size, 'validation picture')} {has(leaked)} the same pixels as training pictures, "
        "so that the validation score flatters"
    )


def imbalance(counts: Sequence[int]) -> float:
    """The largest class by the smallest."""
    return max(counts) / max(1, min(counts))


def about_balance(classes: Sequence[str], counts: Sequence[int], *, weighted: bool = False) -> str:
    """How unequal the classes are, and what helps; weighted: what helps the training is done already. Empty if the
    largest class is less than 2 times the smallest."""
    ratio = imbalance(counts)
    if ratio < UNBALANCED:
        return ""
    most, least = max(counts), min(counts)
    training = "" if weighted else ", --set class_weight=balanced in training"
    return (
        f"unbalanced classes: {classes[counts.index(most)]!r} has {plural(most, 'training picture')}, "
        f"{classes[counts.index(least)]!r} {least:,} ({ratio:.1f} times as many), and accuracy tells little of small "
        f"classes; with --objective val_balanced_accuracy all count the same in the score{training}"
    )
