"""What a person sees: plain lines without control codes, the closing table."""

import io
import math

import pytest
from rich.console import Console

from jax_inr.cli import progress
from jax_inr.cli.progress import Rows, closing_table
from jax_inr.lanes import Progress
from jax_inr.progress import Display, Meter, status

PROGRESS = Progress(
    step=50,
    steps=100,
    seconds=1.0,
    loss=0.00123,
    psnr_db=14.62,
    evaluated_step=1,
    steps_per_second=25.0,
)
SUMMARY = {
    "psnr_db": 35.034,
    "psnr_8bit_db": float("inf"),
    "ssim": None,
    "steps": 100,
    "num_params": 66_691,
    "bits_per_pixel": 42.5,
    "seconds": {"compile": 1.0, "fit": 2.0, "total": 4.0},
    "backend": "jax",
    "device": "cpu",
    "image": {"height": 3, "width": 4},
    "stopped": "steps",
}


def shown(width: int = 80, quiet: bool = False, steps: int = 1) -> str:
    stream = io.StringIO()
    with Display(Console(file=stream, width=width, soft_wrap=True), quiet) as display:
        for _ in range(steps):
            display(PROGRESS)
    return stream.getvalue()


def test_a_plain_line_names_the_losss_psnr_and_the_evaluation_with_its_step():
    line = (
        "step 50/100  loss 0.00123 (its PSNR 29.10 dB)  evaluated 14.62 dB at step 1  "
        "25 steps/s  2 s left\n"
    )
    assert shown() == line
    assert shown(width=20) == line  # wrapped by nobody


def test_a_time_that_is_not_known_is_not_said():
    stream = io.StringIO()
    with Meter(Console(file=stream), "field", keep_last=True) as meter:
        meter.tell(0, 12, "", None)
    assert stream.getvalue() == "field 0/12\n"


@pytest.mark.parametrize(
    "change",
    [
        {"psnr_db": math.nan, "evaluated_step": 0},
        {"psnr_db": math.nan},
        {"loss": math.nan},
        {"loss": math.inf},
    ],
)
def test_no_psnr_is_ever_nan_or_of_no_step(change):
    text = status(PROGRESS._replace(**change))
    assert "nan dB" not in text and "at step 0" not in text and "-inf" not in text
    assert ("evaluated" in text) == (not math.isnan(change.get("psnr_db", 0)))


def test_the_last_chunk_is_always_said_and_the_others_now_and_then():
    assert shown(steps=3).count("\n") == 2


def test_quiet_says_nothing_and_still_knows_that_a_fit_began():
    assert shown(quiet=True) == ""
    display = Display(Console(file=io.StringIO()), quiet=True)
    assert not display.began
    display(PROGRESS)
    assert display.began


def test_rows_are_told_now_and_then_with_the_time_left(monkeypatch):
    stream = io.StringIO()
    monkeypatch.setattr(progress.time, "monotonic", iter(range(0, 90, 9)).__next__)
    with Rows(Console(file=stream, width=80), 40) as rows:
        rows(10)
    assert stream.getvalue() == "row 10/40  27 s left\n"


def test_a_quick_render_says_nothing(monkeypatch):
    stream = io.StringIO()
    times = [0.0, 0.5 * progress.PLAIN_SECONDS, 0.99 * progress.PLAIN_SECONDS]
    monkeypatch.setattr(progress.time, "monotonic", iter(times).__next__)
    with Rows(Console(file=stream, width=80), 40) as rows:
        rows(10)
    assert stream.getvalue() == ""


@pytest.mark.parametrize("quiet", [True, False])
def test_a_terminal_has_a_bar_unless_it_is_to_be_quiet(quiet):
    stream = io.StringIO()
    console = Console(file=stream, width=150, force_terminal=True, color_system=None)
    with Display(console, quiet) as display:
        display(PROGRESS)
    assert ("50/100" in stream.getvalue()) != quiet
    assert bool(stream.getvalue()) != quiet


def test_a_log_file_gets_no_control_codes_even_under_force_color(monkeypatch, capsys):
    monkeypatch.setenv("FORCE_COLOR", "1")
    console = progress.console()
    with Display(console) as display:
        display(PROGRESS)
    console.print(closing_table(SUMMARY))
    text = capsys.readouterr().out
    assert "step 50/100" in text and "35.03 dB" in text
    assert "\x1b" not in text and "\r" not in text


def test_the_closing_table_has_the_summarys_numbers():
    stream = io.StringIO()
    Console(file=stream, width=100).print(closing_table(SUMMARY))
    text = stream.getvalue()
    for part in ("35.03 dB", "inf dB", "n/a", "66691", "compile 1.00, fit 2.00"):
        assert part in text
    assert "3 x 4 pixels (height x width)" in text
