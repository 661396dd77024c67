"""What a person sees: plain lines without control codes, the closing table."""

import io

from rich.console import Console

from jax_inr.cli.progress import Display, closing_table
from jax_inr.loop import Progress

PROGRESS = Progress(50, 100, 1.0, 0.00123, 29.1, 25.0)
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


def test_a_plain_line_names_step_loss_psnr_speed_and_time_left():
    line = "step 50/100  loss 0.00123  PSNR 29.10 dB  25 steps/s  2 s left\n"
    assert shown() == line
    assert shown(width=20) == line  # wrapped by nobody


def test_the_last_chunk_is_always_said_and_the_others_now_and_then():
    assert shown(steps=3).count("\n") == 2


def test_quiet_says_nothing():
    assert shown(quiet=True) == ""


def test_the_closing_table_has_the_summarys_numbers():
    stream = io.StringIO()
    Console(file=stream, width=100).print(closing_table(SUMMARY))
    text = stream.getvalue()
    for part in ("35.03 dB", "inf dB", "n/a", "66691", "compile 1.00, fit 2.00"):
        assert part in text
    assert "4 x 3 pixels" in text
