"""The errors of fits that end early say what was kept and how to go on."""

import math
from pathlib import Path

import pytest

from jax_inr.config import Config
from jax_inr.endings import diverged, interrupted
from jax_inr.lanes import Lane, Position, Rules
from jax_inr.recording import Identity
from jax_inr.run import Run

RULES = Rules(steps=10, eval_every=5)


def made(stopped: str, step: int = 0, out: str | None = None, **about):
    """A run and its lane."""
    identity = Identity("", Config(), "jax")
    path = None if out is None else Path(out)
    run = Run("a", None, (4, 4, 3), identity, RULES, out=path)
    return run, Lane(RULES, position=Position(step=step), stopped=stopped, **about)


@pytest.mark.parametrize(
    ("rate", "driven", "hint"),
    [
        (0.5, ", learning rate 0.5", "learning_rate=0.05"),
        (math.nan, "", "try a smaller learning rate"),
        (0.0, ", learning rate 0", "not finite where the fit starts"),
    ],
)
def test_a_divergence_names_its_step_its_rate_and_what_is_kept(rate, driven, hint):
    _, lane = made("diverged", 5, diverged=(7, rate))
    error = diverged(lane)
    expected = f"not finite at step 7{driven}; the state after step 5 is kept"
    assert str(error).startswith(f"the fit diverged: {expected}")
    assert hint in error.hint


@pytest.mark.parametrize(
    ("ended", "said"),
    [
        ([], "stopped by SIGTERM after step 0"),
        ([("SIGTERM", 3)], "stopped by SIGTERM after step 3"),
        # What had ended before is neither counted nor to be resumed.
        ([("done", 9, "a"), ("SIGTERM", 3)], "stopped by SIGTERM after step 3"),
        ([("steps", 9, "a"), ("SIGTERM", 3, "b")], "step 9; to be resumed from b"),
        (
            [("SIGTERM", 3, "a"), ("SIGTERM", 4, "b")],
            "step 4; 2 runs are to be resumed",
        ),
    ],
)
def test_an_interruption_names_its_step_and_what_is_to_be_resumed(ended, said):
    pairs = [made(*words) for words in ended]
    runs, lanes = [run for run, _ in pairs], [lane for _, lane in pairs]
    error = interrupted("SIGTERM", runs, lanes)
    assert said in str(error) and ("resumed" in str(error)) == ("resumed" in said)
