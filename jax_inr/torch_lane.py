"""A trainer of the torch back end as the host loop's Trainer of one fit."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from jax_inr import extras
from jax_inr.config import Config
from jax_inr.metrics import clipped_mse


def make_trainer(config: Config, target: np.ndarray, device: str) -> "TorchLane":
    """The reference's trainer; ConfigError where torch is not installed."""
    extras.load("torch", "the torch back end needs torch", "torch")
    from torch_ref.training import make_trainer

    return TorchLane(make_trainer(config, target, device=device), target)


class TorchLane:
    """One fit of torch_ref; what is not finite goes back to the last good state."""

    max_chunk_steps = 4096
    count = 1

    def __init__(self, trainer: Any, target: np.ndarray) -> None:
        self.trainer, self._target = trainer, target
        self._good = trainer.state()

    @property
    def steps(self) -> list[int]:
        return [self.trainer.step]

    @property
    def device(self) -> object:
        return self.trainer.device

    def compile(self) -> None:
        self.trainer.compile()

    def advance(
        self, num_steps: int, active: Sequence[bool]
    ) -> tuple[np.ndarray, np.ndarray]:
        self._good = self.trainer.state()
        try:
            losses = self.trainer.advance(num_steps)
        except BaseException:
            # Torch's steps change their tensors in place.
            self.rollback(0)
            raise
        leaves = self.trainer.state().values()
        finite = all(
            np.isfinite(leaf).all() for leaf in leaves if leaf.dtype.kind == "f"
        )
        good = finite and bool(np.isfinite(losses).all())
        if not good:
            self.rollback(0)
        return losses[None], np.array([good])

    def rollback(self, lane: int) -> None:
        self.trainer.load_state(self._good)

    def learning_rate(self, lane: int, step: int) -> float:
        return self.trainer.learning_rate(step)

    def evaluate(self, lane: int) -> float:
        return clipped_mse(self.trainer.predict(), self._target)

    def predict(self, lane: int) -> np.ndarray:
        return self.trainer.predict()

    def parameters(self, lane: int) -> dict[str, np.ndarray]:
        return self.trainer.parameters()

    def state(self, lane: int) -> dict[str, np.ndarray]:
        return self.trainer.state()

    def load_state(self, lane: int, tensors: dict[str, np.ndarray]) -> None:
        self.trainer.load_state(tensors)
        self._good = self.trainer.state()
