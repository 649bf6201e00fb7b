"""What is shown on standard error: lines and progress bars."""

import os
import re

import pytest

from codec import messages
from codec.messages import Bar, say


@pytest.fixture(autouse=True)
def terminal(monkeypatch):
    """50 columns wide; bars are drawn at every update."""
    monkeypatch.setattr(messages.shutil, "get_terminal_size", lambda: os.terminal_size((50, 24)))
    monkeypatch.setattr(messages, "UPDATE_SECONDS", -1)


def test_a_bar_grows_and_leaves_nothing(capsys):
    with Bar("three files", 100) as bar:
        bar.update(25)
        bar.update(25, 100)
        bar.update(150)
    drawn = capsys.readouterr().err.split("\r")
    lines = [line for line in drawn if line.startswith("three files")]
    assert [re.search(r"(\d+)%", line)[1] for line in lines] == ["0", "25", "25", "100"]
    assert {len(line) for line in lines} == {49}
    assert [line.count("#") for line in lines] == sorted(line.count("#") for line in lines)
    assert lines[0].endswith("| ?")
    assert all(re.search(r"\| \d\d:\d\d$", line) for line in lines[1:])
    assert drawn[-2:] == [" " * 49, ""]


def test_a_line_comes_above_the_bar(capsys):
    with Bar("x", 10) as bar:
        bar.update(5)
        capsys.readouterr()
        say("hello")
        assert re.fullmatch(r"\r {49}\rhello\n\rx:  50% \|#+ +\| 00:00", capsys.readouterr().err)
    capsys.readouterr()
    say("hello")
    assert capsys.readouterr().err == "hello\n"


def test_a_hidden_bar_writes_nothing(capsys):
    with Bar("x", 10, hidden=True) as bar:
        bar.update(5)
        say("hello")
    assert capsys.readouterr().err == "hello\n"


@pytest.mark.parametrize(("what", "total"), [("n" * 200, 10), ("nothing to do", 0)])
def test_names_that_are_long_and_nothing_to_do(what, total, capsys):
    with Bar(what, total) as bar:
        bar.update(0)
    assert {len(line) for line in capsys.readouterr().err.split("\r") if line} == {49}


@pytest.mark.parametrize(("seconds", "text"), [(-3, "00:00"), (59.6, "01:00"), (3599, "59:59"), (3600, "1:00:00"), (90061, "25:01:01")])
def test_how_long_it_takes(seconds, text):
    assert messages._clock(seconds) == text


def test_a_closed_stream_is_no_error(monkeypatch):
    stream = open(os.devnull)  # not for writing
    monkeypatch.setattr(messages.sys, "stderr", open(stream.fileno(), "w", closefd=False))
    with Bar("x", 10) as bar:
        bar.update(5)
        say("hello")
    stream.close()
