"""The process around a command: signals that save, errors in one line, devices."""

import errno
import gc
import os
import signal
import subprocess
import sys

import pytest
from conftest import ROOT

from jax_inr.cli import process
from jax_inr.errors import ConfigError, DivergedError, Interrupted, OutputError

SAVING = ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1", "SIGXCPU")


def test_collections_are_rare_for_a_command_and_as_before_after_it():
    before = gc.get_threshold()
    with process.rare_collections():
        assert gc.get_threshold()[0] > before[0]
    assert gc.get_threshold() == before


@pytest.mark.parametrize("name", SAVING)
def test_a_signal_is_remembered_by_its_name_and_ends_nothing(name):
    number = getattr(signal, name)
    before = signal.getsignal(number)
    with process.SignalGuard() as guard:
        assert guard() == ""
        os.kill(os.getpid(), number)
        assert guard() == name and guard.received == number
    assert signal.getsignal(number) == before


@pytest.mark.parametrize("name", ["SIGHUP", "SIGUSR1", "SIGXCPU"])
def test_what_a_cluster_sends_several_times_is_heard_once(name):
    """The kernel sends SIGXCPU each second; the run is saving meanwhile."""
    number = getattr(signal, name)
    with process.SignalGuard() as guard:
        os.kill(os.getpid(), signal.SIGUSR1)
        for _ in range(3):
            os.kill(os.getpid(), number)
        assert guard() == "SIGUSR1"


WAITING = """
import signal, sys, time
from jax_inr.cli.process import SignalGuard
with SignalGuard():
    print("ready", flush=True)
    while True:
        time.sleep(0.01)
"""


@pytest.mark.parametrize("first", ["SIGUSR1", "SIGXCPU", "SIGINT"])
def test_a_second_signal_of_someone_who_waits_ends_at_once(first):
    child = subprocess.Popen(
        [sys.executable, "-c", WAITING],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        text=True,
    )
    assert child.stdout and child.stdout.readline() == "ready\n"
    child.send_signal(getattr(signal, first))
    with pytest.raises(subprocess.TimeoutExpired):
        child.wait(0.3)
    child.send_signal(signal.SIGTERM)
    # Dead of the signal, or with its code: a shell sees 143 in both cases.
    assert child.wait(60) in (-signal.SIGTERM, 128 + signal.SIGTERM)
    child.stdout.close()


@pytest.mark.parametrize(
    ("error", "text", "code"),
    [
        (ConfigError("a", "use steps=3, or network='mlp'"), "a; use --steps 3, ", 2),
        (ConfigError("a", "use --steps 3"), "a; use --steps 3", 2),
        (DivergedError("a/learning_rate=1e+06"), "a/learning_rate=1e+06", 5),
        (OutputError("a"), "a", 6),
        (Interrupted("stopped", signal.SIGXCPU), "stopped", 128 + signal.SIGXCPU),
        (KeyboardInterrupt(), "stopped by SIGINT", 130),
        (
            ModuleNotFoundError(name="zarr"),
            'zarr is not installed; pip install -e "."',
            2,
        ),
        (MemoryError(), "out of memory", 7),
        (ValueError("two\nlines"), "ValueError: two lines", 1),
    ],
)
def test_an_error_is_one_line_in_the_words_of_the_command(error, text, code):
    said, found = process.explain(error)
    assert said.startswith(text) and "\n" not in said and found == code


def test_hints_speak_of_options_and_values_of_other_things_stay():
    text = "use batch_size=None, hidden_features=8 or foo=3 (path/sigma=1)"
    assert process.as_options(text) == (
        "use --batch-size None, --hidden-features 8 or foo=3 (path/sigma=1)"
    )


@pytest.mark.parametrize(
    ("number", "said"),
    [
        (errno.EPIPE, ""),
        (errno.ENOSPC, "notice: nothing more is printed: No space left on device\n"),
    ],
)
def test_what_cannot_be_printed_is_forgotten_and_told_once(
    number, said, tmp_path, capsys, monkeypatch
):
    """A reader that has gone, as `| head` goes, is not worth a word."""
    with open(tmp_path / "file", "w") as file:

        class Stream:
            fileno = file.fileno
            flush = file.flush

            def write(self, text):
                if os.path.sameopenfile(file.fileno(), null):
                    return len(text)
                raise OSError(number, os.strerror(number))

        null = os.open(os.devnull, os.O_WRONLY)
        monkeypatch.setattr(sys, "stdout", Stream())
        output = process.Output()
        output.write("a")
        output.write("b")
        output.flush()
        os.close(null)
    assert capsys.readouterr().err == said
