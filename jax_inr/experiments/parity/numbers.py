"""Both back ends on the same numbers, and how far apart they come out.

What a back end computes is given as named arrays in Flax layout, so that one can be
held against the other leaf by leaf. JAX is imported only when it is called.
"""

import time
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch

from jax_inr.config import Config
from jax_inr.errors import DivergedError
from jax_inr.experiments.report import Say
from jax_inr.io.images import sample_image
from jax_inr.lanes import Lane, Recorder, Rules, Trainer
from jax_inr.loop import run
from jax_inr.presets import preset
from jax_inr.torch_lane import TorchLane
from torch_ref import convert
from torch_ref.encodings import channels_last
from torch_ref.training import TorchTrainer, make_trainer, train_step

Numbers = dict[str, np.ndarray]

STEPS_IN_A_TURN = 5


def paired_trainers(
    config: Config, target: np.ndarray, device: str = "auto"
) -> tuple[Trainer, TorchTrainer]:
    """A trainer of JAX and one of torch that begin with JAX's weights and B.

    `target` is (h, w, c) float32, divided by `rgb_max`; `device` is "auto", "cpu" or
    "gpu". Both are compiled.
    """
    jax_trainer = make_jax_trainer(config, target, device)
    torch_trainer = start_from(jax_trainer.parameters(0), config, target, device)
    jax_trainer.compile()
    torch_trainer.compile()
    return jax_trainer, torch_trainer


def make_jax_trainer(config: Config, target: np.ndarray, device: str) -> Trainer:
    """JAX's trainer of one fit of a target (h, w, c), divided by `rgb_max`."""
    from jax_inr import tasks
    from jax_inr.job import make_job
    from jax_inr.trainer import JaxTrainer

    # The task divides an image in [0, 1] by rgb_max; the target is divided already.
    task = tasks.from_config(config.replace(rgb_max=255), target)
    return JaxTrainer([make_job(task, config)], device)


def start_from(
    tensors: Mapping[str, np.ndarray], config: Config, target: np.ndarray, device: str
) -> TorchTrainer:
    """A torch trainer that begins with the tensors of a field file."""
    trainer = make_trainer(config, target, device)
    trainer.load_state({**trainer.state(), **tensors})
    return trainer


def jax_numbers(
    config: Config, tensors: Mapping[str, np.ndarray], target: np.ndarray
) -> Numbers:
    """What JAX makes of a field's tensors and a target (h, w, c), before any step.

    `encoding` (h, w, f), `prediction` (h, w, c), `loss` (), and the loss's gradient
    by each leaf, as `gradient/dense_0/kernel`.
    """
    import jax

    from jax_inr import tasks
    from jax_inr.job import make_job
    from jax_inr.plan import make_data
    from jax_inr.tensors import flatten, unflatten_like
    from jax_inr.training import batch_loss, predict_batch

    task = tasks.from_config(config.replace(rgb_max=255), target)
    job = make_job(task, config)
    plan = job.plan()
    like = job.model.shapes()
    variables = unflatten_like(like, dict(tensors))
    data = make_data(plan, task, variables, job.rates)

    @jax.jit
    def numbers(params: Any, constants: Any) -> Any:
        variables = {"params": params, "constants": constants}
        prediction = predict_batch(plan, variables, data.inputs, data.items)
        loss = jax.value_and_grad(batch_loss, argnums=1)
        return prediction, loss(plan, params, constants, data)

    prediction, (loss, gradient) = numbers(variables["params"], variables["constants"])
    size = target.shape[:2]
    return {
        "encoding": np.asarray(data.inputs).reshape(*size, -1),
        "prediction": np.asarray(prediction).reshape(*size, -1),
        "loss": np.asarray(loss),
        **flatten({"gradient": gradient}),
    }


def torch_numbers(
    config: Config, tensors: Mapping[str, np.ndarray], target: np.ndarray
) -> Numbers:
    """What torch makes of them; the names and shapes are those of `jax_numbers`."""
    trainer = start_from(tensors, config, target, "auto")
    with trainer.computing():
        prediction = trainer.model(trainer.features)
        loss = trainer.loss_fn(prediction, trainer.target)
        loss.backward()
    leaves = trainer.model.named_parameters()
    gradients = convert.to_flax({n: p.grad for n, p in leaves if p.grad is not None})
    return {
        "encoding": channels_last(trainer.features).cpu().numpy(),
        "prediction": channels_last(prediction.detach()).cpu().numpy(),
        "loss": loss.detach().cpu().numpy(),
        **{name.replace("params", "gradient", 1): g for name, g in gradients.items()},
    }


def after_steps(
    trainer: Trainer | TorchTrainer, counts: Sequence[int]
) -> list[Numbers]:
    """`losses` (k,) and `params/...` after each of these rising numbers k of steps."""
    lane: Any = trainer
    if isinstance(trainer, TorchTrainer):
        lane = TorchLane(trainer, np.empty(0))
    found, losses = [], np.empty(0, np.float32)
    for count in counts:
        more, _ = lane.advance(count - lane.steps[0], [True])
        losses = np.append(losses, more[0])
        tensors = lane.parameters(0)
        params = {n: x for n, x in tensors.items() if n.startswith("params/")}
        found.append({"losses": losses, **params})
    return found


class Deviation(NamedTuple):
    """How far apart two arrays are."""

    absolute: float  # the largest difference
    relative: float  # over the largest magnitude of the first


def deviations(first: Numbers, second: Numbers) -> dict[str, Deviation]:
    """The deviation of every leaf; a ValueError names a leaf that does not match."""
    found = {}
    for name in (*first, *second):
        if name not in first or name not in second:
            raise ValueError(f"{name} is on one side only")
        a, b = (np.asarray(side[name], np.float64) for side in (first, second))
        if a.shape != b.shape:
            raise ValueError(f"{name} is {a.shape} against {b.shape}")
        absolute = float(np.abs(a - b).max())
        largest = max(np.abs(a).max(), np.finfo(np.float32).tiny)
        found[name] = Deviation(absolute, float(absolute / largest))
    return found


# What the report measures on the sample cat


def sample_target(config: Config, size: int = 224) -> np.ndarray:
    """The sample cat as the config's fit is held to it, (size, size, 3)."""
    return sample_image(size).image * np.float32(255 / config.rgb_max)


def preset_deviations(name: str, size: int, counts: Sequence[int]) -> dict[str, Any]:
    """How far JAX comes from torch with a preset, and torch from itself, `perturbed`.

    Both are lists of deviations: before any step, then after these numbers of steps.
    """
    config = preset(name)
    target = sample_target(config, size)
    jax_trainer, torch_trainer = paired_trainers(config, target)
    start = jax_trainer.parameters(0)
    theirs = [torch_numbers(config, start, target)]
    theirs += after_steps(torch_trainer, counts)
    ours = [jax_numbers(config, start, target), *after_steps(jax_trainer, counts)]
    start = perturbed(start)
    itself = [torch_numbers(config, start, target)]
    itself += after_steps(start_from(start, config, target, "auto"), counts)
    return {
        "size": size,
        "devices": {"JAX": str(jax_trainer.device), "torch": str(torch_trainer.device)},
        "counts": [0, *counts],
        "jax": list(map(deviations, theirs, ours)),
        "perturbed": list(map(deviations, theirs, itself)),
    }


def perturbed(tensors: Mapping[str, np.ndarray]) -> Numbers:
    """Every number moved to the next float32, up or down: the least that can differ."""
    rng, ways = np.random.default_rng(0), np.array([-np.inf, np.inf], np.float32)
    return {n: np.nextafter(x, rng.choice(ways, x.shape)) for n, x in tensors.items()}


def run_fit(
    backend: str, config: Config, start: Numbers | None, say: Say
) -> tuple[list[dict[str, Any]], Numbers]:
    """A fit of the sample cat: its evaluations, and the tensors it started from.

    `start` is where torch starts; None stands for the config's own draw.
    """
    target = sample_target(config)
    if start is not None:
        trainer = TorchLane(start_from(start, config, target, "auto"), target)
    elif backend == "torch":
        trainer = TorchLane(make_trainer(config, target, "auto"), target)
    else:
        trainer = make_jax_trainer(config, target, "auto")
    start = trainer.parameters(0)
    trainer.compile()
    lane = Lane(
        Rules(config.steps, config.eval_every, config.target_psnr, config.max_seconds),
        Shown(backend, say),
    )
    run(trainer, [lane])
    if lane.is_interrupted:  # which ends the report as it would any script
        raise KeyboardInterrupt
    if lane.diverged is not None:
        raise DivergedError(f"{backend}: not finite at step {lane.diverged[0]}")
    return lane.rows, start


class Shown(Recorder):
    """Tells the evaluations of a fit."""

    def __init__(self, backend: str, say: Say) -> None:
        self._backend, self._say = backend, say

    def row(self, row: dict[str, Any]) -> None:
        psnr_db = f"{row['psnr_db']:.2f} dB"
        self._say(f"{self._backend}: step {row['step']}, {psnr_db}")


def time_layouts(turns: int) -> dict[str, Any]:
    """Seconds a step with the encoding as permuted view and contiguous, in turns."""
    config = preset("optimized")
    trainer = make_trainer(config, sample_target(config))
    contiguous = trainer.features
    view = contiguous.permute(1, 2, 0).contiguous().permute(2, 0, 1)
    assert contiguous.is_contiguous() and not view.is_contiguous()
    seconds: dict[str, list[float]] = {"view": [], "contiguous": []}
    with trainer.computing():
        for turn in range(-1, turns):  # the first is the warm-up
            for name, features in (("view", view), ("contiguous", contiguous)):
                start = time.perf_counter()
                for _ in range(STEPS_IN_A_TURN):
                    parts = (trainer.model, trainer.loss_fn, trainer.opt)
                    train_step(*parts, features, trainer.target)
                if trainer.device.type == "cuda":
                    torch.cuda.synchronize()
                if turn >= 0:
                    passed = time.perf_counter() - start
                    seconds[name].append(passed / STEPS_IN_A_TURN)
    return {
        "seconds": seconds,
        "device": str(trainer.device),
        "threads": torch.get_num_threads(),
    }
