"""What a person sees of experiments, in a log file and on a terminal."""

import sys

import pytest

from jax_inr.cli import counter
from jax_inr.cli.counter import LIVE_SECONDS, PLAIN_SECONDS, Counter


@pytest.fixture
def clock(monkeypatch):
    """The time of the counter, in a list of one."""
    now = [100.0]
    monkeypatch.setattr(counter.time, "monotonic", lambda: now[0])
    return now


def counted(clock, seconds: float) -> None:
    """An experiment that says where it is twice before `seconds` and once after."""
    with Counter() as shown:
        shown.begin("siren")
        shown.tell(1, 9)
        clock[0] += seconds
        shown.tell(2, 9)
        shown.tell(3, 9)
        shown.end("31.00 dB")


def test_a_log_file_gets_a_line_now_and_then_and_one_at_the_end(clock, capsys):
    counted(clock, PLAIN_SECONDS)
    assert capsys.readouterr().out == "siren: step 2/9\nsiren: 31.00 dB\n"
    counted(clock, PLAIN_SECONDS / 2)
    assert capsys.readouterr().out == "siren: 31.00 dB\n"


def test_a_terminal_shows_an_experiment_on_one_line(clock, capsys, monkeypatch):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    counted(clock, PLAIN_SECONDS + LIVE_SECONDS)
    shown = capsys.readouterr().out
    assert shown.count("\n") == 1 and shown.endswith("siren: 31.00 dB\x1b[K\n")
    assert [line.split("\x1b")[0] for line in shown.split("\r")[1:]] == [
        "siren …",
        "siren: step 2/9",
        "siren: 31.00 dB",
    ]


@pytest.mark.parametrize(("live", "end"), [(True, "\n"), (False, "")])
def test_an_error_begins_on_a_line_of_its_own(capsys, monkeypatch, live, end):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: live)
    with pytest.raises(KeyError), Counter():
        raise KeyError
    assert capsys.readouterr().out == end
