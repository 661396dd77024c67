"""Our rows: a field restores the image, and an ensemble of fields of other seeds.

Both are of the same fits, to the last step, with the settings of `priors`, which were
found on the images to tune by. What the fits predict on the way is kept for the oracle
alone.
"""

import hashlib
import time

import numpy as np

from jax_inr.experiments.tasks import problems
from jax_inr.experiments.tasks.classical import Answer, Method
from jax_inr.experiments.tasks.problems import Measured
from jax_inr.lanes import Lane, Recorder, Rules
from jax_inr.recording import hash_arrays

STAGES = 8  # predictions of a fit that the oracle may choose from


class Stages(Recorder):
    """A recorder that keeps what a field predicts every so many steps."""

    def __init__(self, every: int) -> None:
        self.every = every
        self.images: list[np.ndarray] = []

    def next_frame(self, step: int) -> float:
        return (step // self.every + 1) * self.every

    def frame(self, step: int, prediction: np.ndarray) -> None:
        self.images.append(prediction)


def stages(kind: str, seen: Measured) -> np.ndarray:
    """The predictions (k, stages, h, w, c) of k fields of a problem's measurements."""
    # Imported late: JAX takes a second, and the other rows do without.
    from jax_inr import loop
    from jax_inr.job import make_job
    from jax_inr.priors import prior
    from jax_inr.tensors import float32
    from jax_inr.trainer import JaxTrainer

    settings = prior(kind.split("-")[0])
    task = settings.penalised(problems.task(kind, seen), noise_sigma(seen))
    config = settings.config(*task.shape[:2])
    every = -(-config.steps // STAGES)
    seeds = range(settings.fields)
    rules = Rules(config.steps, config.steps)
    recorders = [Stages(every) for _ in seeds]
    lanes = [Lane(rules, recorder) for recorder in recorders]
    with float32():
        jobs = [make_job(task, config.replace(seed=seed)) for seed in seeds]
        trainer = JaxTrainer(jobs)
        trainer.compile()
        loop.run(trainer, lanes)
    for lane in lanes:
        if lane.error is not None:
            raise lane.error
    # The loop ends with a frame of the last step.
    return np.stack([np.stack(recorder.images) for recorder in recorders])


def noise_sigma(seen: Measured) -> float:
    """The deviation of the noise, of photon counts at half of white."""
    if seen.get("noise") == "poisson":
        return (0.5 / seen["peak"]) ** 0.5
    return float(seen.get("sigma", 0.0))


class Fields:
    """The fits of the problems seen so far, which both rows are of."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._kept: dict[str, tuple[np.ndarray, float]] = {}

    def answer(self, seen: Measured, count: int | None) -> Answer:
        """What the first `count` fields restore, all where None.

        Seconds are a share of those of all fits.
        """
        key = hash_arrays(*(np.asarray(seen[name]) for name in sorted(seen)))
        if key not in self._kept:
            start = time.perf_counter()
            found = stages(self.kind, seen)
            self._kept[key] = found, time.perf_counter() - start
        found, seconds = self._kept[key]
        share = len(found[:count]) / len(found)
        means = found[:count].mean(axis=0, dtype=np.float64)
        return Answer(means[-1], seconds * share, means)


def methods(kind: str) -> tuple[Method, ...]:
    """A field alone, and an ensemble of fields of other seeds."""
    fields = Fields(kind)

    def settings() -> str:
        from jax_inr.priors import prior

        text = repr(prior(kind.split("-")[0]))
        return hashlib.sha256(text.encode()).hexdigest()[:8]

    return (
        Method("field", lambda seen, _: fields.answer(seen, 1), settings=settings),
        Method(
            "ensemble", lambda seen, _: fields.answer(seen, None), settings=settings
        ),
    )
