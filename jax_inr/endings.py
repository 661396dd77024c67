"""The errors of fits that end early: diverged, or stopped by a signal."""

import math
import signal
from collections.abc import Sequence

from jax_inr.errors import DivergedError, Interrupted
from jax_inr.io.text import shown
from jax_inr.lanes import Lane
from jax_inr.run import Run


def diverged(lane: Lane) -> DivergedError:
    """The error of a lane whose numbers are not finite."""
    assert lane.diverged is not None
    step, rate = lane.diverged
    driven = "" if math.isnan(rate) else f", learning rate {rate:g}"
    hint = f"try learning_rate={rate / 10:g}, or more warmup_steps"
    if math.isnan(rate):
        hint = "try a smaller learning rate"
    elif not rate:  # nothing has moved
        hint = "the loss or its gradient is not finite where the fit starts"
    return DivergedError(
        f"the fit diverged: not finite at step {step}{driven}; "
        f"the state after step {lane.position.step} is kept",
        hint,
    )


def interrupted(name: str, runs: Sequence[Run], lanes: Sequence[Lane]) -> Interrupted:
    """The error of runs that the signal `name` ended; it carries their fits so far."""
    number = getattr(signal, name, signal.SIGINT)
    pairs = [
        (run, lane)
        for run, lane in zip(runs, lanes, strict=True)
        if lane.stopped != "done"
    ]
    steps = max((lane.position.step for _, lane in pairs), default=0)
    kept = ""
    saved = [
        run
        for run, lane in pairs
        if run.out is not None and lane.is_interrupted and run.error is None
    ]
    if len(saved) == 1:
        kept = f"; to be resumed from {shown(saved[0].out or '')}"
    elif saved:
        kept = f"; {len(saved)} runs are to be resumed by the same call"
    if lost := [run.error for run in runs if run.error is not None]:
        reason = next(iter(str(lost[0]).splitlines()), type(lost[0]).__name__)
        kept += f"; {len(lost)} failed: {reason}"
    fits = [run.fit for run in runs if run.fit is not None]
    return Interrupted(f"stopped by {name} after step {steps}{kept}", number, fits)
