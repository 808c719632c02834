from __future__ import annotations

import io

from rich.console import Console

from tuner.databar import data_progress


def test_a_pipe_gets_a_line_every_ten_seconds_with_what_is_left() -> None:
    now_s, output = 0.0, io.StringIO()
    with data_progress(Console(file=output, width=20), "pets", clock=lambda: now_s) as tell:
        for done in range(0, 4_001, 100):
            tell("decoding", done, 4_000)
            now_s += 1.0
    assert output.getvalue().splitlines() == [
        "pets: decoding, 1,000 of 4,000 pictures, about 30s left",
        "pets: decoding, 2,000 of 4,000 pictures, about 20s left",
        "pets: decoding, 3,000 of 4,000 pictures, about 10s left",
        "pets: decoding, 4,000 of 4,000 pictures, about 0s left",
    ]


def test_what_is_resumed_does_not_count_as_fast() -> None:
    now_s, output = 0.0, io.StringIO()
    with data_progress(Console(file=output), "pets", clock=lambda: now_s) as tell:
        tell("decoding", 3_000, 4_000)
        now_s = 10.0
        tell("decoding", 3_100, 4_000)
    assert output.getvalue() == "pets: decoding, 3,100 of 4,000 pictures, about 1m30s left\n"


def test_a_terminal_gets_a_bar_that_goes_away() -> None:
    output = io.StringIO()
    console = Console(file=output, force_terminal=True, width=100, color_system=None)
    with data_progress(console, "pets") as tell:
        tell("reading the sizes", 10, 10)
        tell("decoding", 2, 10)
    drawn = output.getvalue()
    assert "reading data set pets" in drawn
    assert "pets: decoding" in drawn
    assert "2 of 10 pictures" in drawn
    assert drawn.rstrip("\n").endswith("\x1b[2K"), "the bar is erased"


def test_nothing_to_tell_is_nothing_told() -> None:
    output = io.StringIO()
    with data_progress(Console(file=output), "pets"):
        pass
    assert output.getvalue() == ""
