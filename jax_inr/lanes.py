"""A lane: a fit of the host loop, with its trainer, rules, position and recorder.

Framework-free.
"""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np

from jax_inr.metrics import psnr_from_mse

# With a target, the loop checks it at least this often over the steps.
TARGET_EVALUATIONS = 50


@runtime_checkable
class Trainer(Protocol):
    """Fits in progress in one of the back ends; a fit is a lane."""

    max_chunk_steps: int
    count: int

    @property
    def steps(self) -> list[int]:
        """Optimizer steps done by each lane."""
        ...

    @property
    def device(self) -> object:
        """The device of the fits; its `str` is for people."""
        ...

    def compile(self) -> None:
        """Compile the programs and prepare the data, once."""
        ...

    def advance(
        self, num_steps: int, active: Sequence[bool]
    ) -> tuple[np.ndarray, np.ndarray]:
        """Take steps of the active lanes: losses before each, and which are finite."""
        ...

    def rollback(self, lane: int) -> None:
        """Take a lane back to before the last `advance`."""
        ...

    def learning_rate(self, lane: int, step: int) -> float:
        """The learning rate of a step."""
        ...

    def evaluate(self, lane: int) -> float:
        """The mean squared error of a lane's measurements."""
        ...

    def predict(self, lane: int) -> np.ndarray:
        """A lane's colours (h, w, c) over the image's grid."""
        ...

    def parameters(self, lane: int) -> dict[str, np.ndarray]:
        """The tensors of a field file."""
        ...

    def state(self, lane: int) -> dict[str, np.ndarray]:
        """The tensors that resuming needs."""
        ...

    def load_state(self, lane: int, tensors: dict[str, np.ndarray]) -> None:
        """Load what `state` returned."""
        ...


@dataclasses.dataclass(frozen=True)
class Rules:
    """When a fit is evaluated and when it stops; none of it changes a step.

    losses_evaluate: the loss of a step is the evaluation of the parameters before it,
    because it is of all measurements and needs no clipping. patience_steps: the fit
    ends where for so many steps no evaluation was better than the best.
    """

    steps: int
    eval_every: int
    target_psnr: float | None = None
    max_seconds: float | None = None
    losses_evaluate: bool = False
    patience_steps: int | None = None

    def is_due(self, step: int) -> bool:
        """Whether an evaluation falls after this many steps."""
        return step > 0 and (step - 1) % self.eval_every == 0

    def next_due(self, step: int) -> int:
        """The first evaluation, or look at the target, after more than `step` steps."""
        due = 1 + -(-step // self.eval_every) * self.eval_every
        if self.target_psnr is None:
            return due
        every = max(min(self.eval_every, self.steps // TARGET_EVALUATIONS), 1)
        return min(due, (step // every + 1) * every)


@dataclasses.dataclass
class Position:
    """The progress of a fit beside the trainer's state; a checkpoint keeps it."""

    step: int = 0
    seconds: float = 0.0  # of fitting, over all sessions of the run
    loss: float = 0.0  # of the last step
    last_row: int = 0  # step of the newest evaluation in the log; 0 for none
    num_rows: int = 0  # evaluations so far
    mse_sum: float = 0.0  # of their squared errors, for the pooled PSNR
    last_mse: float = 0.0  # squared error of the newest of them
    first_mse: float = 0.0  # squared error before the first step
    best_step: int = 0  # of the best evaluation; 0 for none
    best_mse: float = 0.0  # squared error of it


class Progress(NamedTuple):
    """Progress after a chunk of steps, averaged over the fits."""

    step: int
    steps: int
    seconds: float
    loss: float
    psnr_db: float  # of the latest evaluation; NaN before the first
    steps_per_second: float
    evaluated_step: int = 0  # of the latest evaluation
    loss_psnr_db: float = math.nan  # of the running loss, where it is a squared error


class Recorder:
    """The receiver of a fit's events in the loop; this base class ignores them."""

    def next_frame(self, step: int) -> float:
        """The first step of the film after `step`; infinity where none is made."""
        return math.inf

    def row(self, row: dict[str, Any]) -> None:
        """Take an evaluation."""

    def frame(self, step: int, prediction: np.ndarray) -> None:
        """Take the prediction (h, w, c) at a step of the film."""

    def save(self, position: Position, state: dict[str, np.ndarray]) -> None:
        """Take the position and the state that resuming needs."""


@dataclasses.dataclass
class Lane:
    """A fit of the loop: its rules, its position, and what became of it."""

    rules: Rules
    recorder: Recorder = dataclasses.field(default_factory=Recorder)
    position: Position = dataclasses.field(default_factory=Position)
    rows: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    # "steps", "target_psnr", "max_seconds", "diverged" or a signal's name.
    stopped: str = ""
    # The step of a divergence and its learning rate.
    diverged: tuple[int, float] | None = None
    # The exception of the recorder or an evaluation; it ends this fit alone.
    error: Exception | None = None

    @property
    def is_interrupted(self) -> bool:
        """Whether a signal ended the fit: it is to be resumed, not finished."""
        return self.stopped.startswith("SIG")

    @property
    def psnr_db(self) -> float:
        """PSNR of the newest evaluation; NaN before the first."""
        position = self.position
        return (
            float(psnr_from_mse(position.last_mse)) if position.num_rows else math.nan
        )

    def record(self, step: int, mse: float, loss: float) -> None:
        """Add the evaluation of the parameters after `step` steps."""
        position = self.position
        position.last_row = step
        position.num_rows += 1
        position.mse_sum += mse
        position.last_mse = mse
        if not position.best_step or mse < position.best_mse:
            position.best_step, position.best_mse = step, mse
        row = {
            "step": step,
            "seconds": round(position.seconds, 6),
            "loss": loss,
            "psnr_db": self.psnr_db,
            "pooled_psnr_db": float(
                psnr_from_mse(position.mse_sum / position.num_rows)
            ),
        }
        self.rows.append(row)
        self.recorder.row(row)

    def why_stop(self) -> str:
        """The rule that ends the fit here, or nothing; a resumed fit ends alike."""
        position, target = self.position, self.rules.target_psnr
        # Only an evaluation of the current parameters counts.
        if (
            target is not None
            and position.last_row == position.step
            and self.psnr_db >= target
        ):
            return "target_psnr"
        if position.step >= self.rules.steps:
            return "steps"
        patience = self.rules.patience_steps
        if patience is not None and position.last_row - position.best_step >= patience:
            return "patience"
        limit = self.rules.max_seconds
        if limit is not None and position.seconds >= limit:
            return "max_seconds"
        return ""

    @property
    def worse(self) -> str:
        """The notice for a fit that ended worse than it began; empty otherwise."""
        position = self.position
        if not position.last_mse > position.first_mse:
            return ""
        return (
            "the fit is worse than at the start: squared error "
            f"{position.last_mse:.3g}, {position.first_mse:.3g} untrained; "
            "a smaller learning rate may help"
        )


class failing:
    """A context in which an exception fails this lane or run alone."""

    def __init__(self, fit: Any) -> None:
        self._fit = fit

    def __enter__(self) -> None: ...

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> bool:
        if not isinstance(error, Exception):
            return False
        self._fit.error = error
        if isinstance(self._fit, Lane):
            self._fit.stopped = "failed"
        return True
