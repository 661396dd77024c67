"""The host loop: chunks, evaluations, saves, signals and stopping rules.

Framework-free: it drives a `Trainer` of either back end. Chunk lengths and
checkpoints follow the clock; the numbers follow the seed and the config alone.
"""

import dataclasses
import math
import time
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import numpy as np

from jax_inr.cli.signals import SignalGuard
from jax_inr.config import Config
from jax_inr.draw.film import next_frame
from jax_inr.errors import DivergedError
from jax_inr.metrics import psnr_from_mse
from jax_inr.splits import train_index

CHUNK_SECONDS = 0.5  # what a signal waits for, at most about
MAX_CHUNK_STEPS = 4096  # losses of one compiled chunk


class Trainer(Protocol):
    """A fit in progress in one of the back ends."""

    @property
    def step(self) -> int:
        """Optimizer steps done."""
        ...

    @property
    def device(self) -> object:
        """What it runs on; its `str` is for people."""
        ...

    def compile(self) -> None:
        """Do the slow things that happen once."""
        ...

    def advance(self, num_steps: int) -> np.ndarray:
        """Take steps; the loss before each, on that step's pixels."""
        ...

    def learning_rate(self, step: int) -> float:
        """The learning rate of a step."""
        ...

    def predict(self) -> np.ndarray:
        """The network's colours (h, w, c) over the picture's grid."""
        ...

    def parameters(self) -> dict[str, np.ndarray]:
        """The tensors of a field file."""
        ...

    def state(self) -> dict[str, np.ndarray]:
        """All that resuming needs."""
        ...

    def load_state(self, tensors: dict[str, np.ndarray]) -> None:
        """Take up what `state` gave."""
        ...


@dataclasses.dataclass
class Position:
    """Where a fit is, beside the trainer's state; a checkpoint's header keeps it."""

    step: int = 0
    seconds: float = 0.0  # of fitting, over all sessions of the run
    loss: float = 0.0  # of the last step
    last_row: int = 0  # step of the newest evaluation in the log; 0 for none
    num_rows: int = 0  # evaluations so far
    mse_sum: float = 0.0  # of their squared errors, for the pooled PSNR
    last_mse: float = 0.0  # squared error of the newest of them
    first_mse: float = 0.0  # squared error before the first step


class Progress(NamedTuple):
    """What a progress display is told after each chunk."""

    step: int
    steps: int
    seconds: float
    loss: float
    psnr_db: float  # of the newest evaluation; NaN before the first
    evaluated_step: int  # of that evaluation; 0 before the first
    steps_per_second: float


class Outcome(NamedTuple):
    """What the loop ended with."""

    stopped: str  # "steps", "target_psnr", "max_seconds" or a signal's name
    interrupted: bool  # by a signal: to be resumed, not finished
    rows: list[dict[str, Any]]  # the evaluations of this session
    prediction: np.ndarray  # (h, w, c), of the final parameters
    position: Position


class Log:
    """Evaluations as they happen: rows, the pooled error, the fit's position."""

    def __init__(
        self,
        config: Config,
        position: Position,
        on_row: Callable[[dict[str, Any]], None] = lambda row: None,
    ) -> None:
        self.config = config
        self.position = position
        self.rows: list[dict[str, Any]] = []
        self._on_row = on_row

    @property
    def psnr_db(self) -> float:
        """PSNR of the newest evaluation; NaN before the first."""
        at = self.position
        return float(psnr_from_mse(at.last_mse)) if at.num_rows else math.nan

    def losses_evaluate(self, target: np.ndarray) -> bool:
        """Whether the loss of a step evaluates the parameters before it.

        It has to be of all trained pixels, and of colours that need no clipping.
        """
        config = self.config
        whole = not config.batch_size or config.batch_size >= target[..., 0].size
        # A target is checked against the very parameters that are kept.
        is_bounded = config.network in ("mlp", "cnn")
        return whole and is_bounded and config.target_psnr is None

    def due(self, step: int) -> bool:
        """Whether an evaluation falls after this many steps."""
        return step > 0 and (step - 1) % self.config.eval_every == 0

    def next_due(self, step: int) -> int:
        """The first evaluation after more than `step` steps."""
        every = self.config.eval_every
        return 1 + -(-step // every) * every

    def record(self, step: int, mse: float, loss: float) -> None:
        """Add the evaluation of the parameters after `step` steps."""
        at = self.position
        at.last_row = step
        at.num_rows += 1
        at.mse_sum += mse
        at.last_mse = mse
        row = {
            "step": step,
            "seconds": round(at.seconds, 6),
            "loss": loss,
            "psnr_db": self.psnr_db,
            "pooled_psnr_db": float(psnr_from_mse(at.mse_sum / at.num_rows)),
        }
        self.rows.append(row)
        self._on_row(row)


def run(
    trainer: Trainer,
    config: Config,
    target: np.ndarray,
    guard: SignalGuard,
    *,
    position: Position | None = None,
    on_row: Callable[[dict[str, Any]], None] = lambda row: None,
    on_progress: Callable[[Progress], None] = lambda progress: None,
    on_frame: Callable[[int, np.ndarray], None] | None = None,
    save: Callable[[Position], None] = lambda position: None,
    save_every_seconds: float = 30.0,
) -> Outcome:
    """Drive a compiled trainer from where it stands to the end of its fit.

    Evaluations fall after steps 1, 1 + eval_every, 1 + 2 eval_every, … as in the
    notebook, and after the last. With the whole picture in every step the next
    step's loss is the evaluation, and costs nothing. `on_frame` is given the step and
    the prediction at the steps of a film, which are no part of the fit's seconds.

    Raises:
        DivergedError: the loss or the parameters are not finite; the trainer and
            the last call of `save` hold the last good state.
    """
    log = Log(config, position or Position(), on_row)
    at = log.position
    at.step = trainer.step
    # Nothing here sees a held-out pixel.
    trained = train_index(config, *target.shape[:2])
    target = target[trained]
    losses_evaluate = log.losses_evaluate(target)
    chunk_steps, saved_at = 1, time.monotonic()
    good = trainer.state()
    if at.step == 0 and not losses_evaluate:
        at.first_mse = mse_of(trainer.predict()[trained], target)
    if at.step == 0 and on_frame is not None:
        on_frame(0, trainer.predict())
    while not (stopped := _why_stop(config, log, guard)):
        if time.monotonic() - saved_at >= save_every_seconds:
            save(at)
            saved_at = time.monotonic()
        step = at.step
        start, seconds_before = time.perf_counter(), at.seconds
        num_steps = min(chunk_steps, config.steps - step)
        if not losses_evaluate:
            num_steps = min(num_steps, log.next_due(step) - step)
        if on_frame is not None:
            num_steps = min(num_steps, next_frame(step) - step)
        losses = trainer.advance(num_steps)
        state = trainer.state()
        if not (np.isfinite(losses).all() and _finite(state)):
            trainer.load_state(good)
            save(at)
            raise _diverged(trainer, step, losses)
        good, at.loss = state, float(losses[-1])
        if step == 0 and losses_evaluate:
            at.first_mse = float(losses[0])
        elapsed = time.perf_counter() - start
        at.seconds = seconds_before + elapsed
        at.step = step + num_steps
        if losses_evaluate:
            for offset, mse in enumerate(losses.tolist()):
                if log.due(step + offset):
                    log.record(step + offset, mse, mse)
        elif log.due(at.step):
            mse = mse_of(trainer.predict()[trained], target)
            at.seconds = seconds_before + time.perf_counter() - start
            log.record(at.step, mse, at.loss)
        if on_frame is not None and at.step == next_frame(step):
            on_frame(at.step, trainer.predict())
        rate = num_steps / elapsed
        chunk_steps = int(min(max(rate * CHUNK_SECONDS, 1), MAX_CHUNK_STEPS))
        on_progress(
            Progress(
                step=at.step,
                steps=config.steps,
                seconds=at.seconds,
                loss=at.loss,
                psnr_db=log.psnr_db,
                evaluated_step=at.last_row,
                steps_per_second=rate,
            )
        )
    save(at)
    prediction = trainer.predict()
    interrupted = stopped.startswith("SIG")
    if on_frame is not None and not interrupted:
        on_frame(at.step, prediction)
    if not interrupted and at.last_row != at.step:
        # Not for an interrupted run: it will pass here and not stop.
        log.record(at.step, mse_of(prediction[trained], target), at.loss)
    return Outcome(stopped, interrupted, log.rows, prediction, at)


def _why_stop(config: Config, log: Log, guard: SignalGuard) -> str:
    """What ends the fit here, or nothing; for a resumed fit as for the one before."""
    at, target = log.position, config.target_psnr
    # Of the parameters as they are: an older evaluation does not count.
    if target is not None and at.last_row == at.step and log.psnr_db >= target:
        return "target_psnr"
    if at.step >= config.steps:
        return "steps"
    if guard.received:
        return guard.received.name
    if config.max_seconds is not None and at.seconds >= config.max_seconds:
        return "max_seconds"
    return ""


def worse_notice(at: Position) -> str:
    """What to tell of a fit that ended worse than it began; else nothing."""
    if not at.last_mse > at.first_mse:
        return ""
    return (
        f"the fit is worse than at the start: squared error {at.last_mse:.3g}, "
        f"{at.first_mse:.3g} untrained; a smaller --learning-rate may help"
    )


def mse_of(prediction: np.ndarray, target: np.ndarray) -> float:
    """Mean squared error of the clipped prediction, summed in float64."""
    error = np.clip(prediction, 0, 1).astype(np.float64) - target
    return float(np.mean(error**2))


def _finite(state: dict[str, np.ndarray]) -> bool:
    return all(
        np.isfinite(leaf).all() for leaf in state.values() if leaf.dtype.kind == "f"
    )


def _diverged(trainer: Trainer, step: int, losses: np.ndarray) -> DivergedError:
    bad = np.flatnonzero(~np.isfinite(losses))
    at = step + int(bad[0] if len(bad) else len(losses) - 1)
    rate = trainer.learning_rate(at)
    return DivergedError(
        f"the fit diverged: not finite at step {at}, learning rate {rate:g}; "
        f"the state after step {step} is kept",
        f"try --learning-rate {rate / 10:g}, or a longer --warmup-steps",
    )
