"""Both back ends on the same numbers, and how far apart they come out.

What a back end computes is given as named arrays in Flax layout, so that one can be
held against the other leaf by leaf. This and what is built on it are the only modules
of torch_ref that import JAX, and only when called.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from jax_inr.config import Config
from jax_inr.loop import Trainer
from torch_ref import convert
from torch_ref.encodings import channels_last
from torch_ref.training import TorchTrainer, make_trainer

Numbers = dict[str, np.ndarray]


def twins(
    config: Config, target: np.ndarray, device: str = "auto"
) -> tuple[Trainer, TorchTrainer]:
    """A trainer of JAX and one of torch that begin with JAX's weights and B.

    `target` is (h, w, c) float32, divided by `rgb_max`; `device` is "auto", "cpu" or
    "gpu". Both are compiled.
    """
    from jax_inr.training import JaxTrainer

    jax_trainer = JaxTrainer(config, target, device)
    torch_trainer = start_from(jax_trainer.parameters(), config, target, device)
    jax_trainer.compile()
    torch_trainer.compile()
    return jax_trainer, torch_trainer


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

    from jax_inr.tensors import flatten, unflatten_like
    from jax_inr.training import make_data, make_plan

    plan = make_plan(config, *target.shape)
    like = jax.eval_shape(plan.model.init, jax.random.key(0))
    variables = unflatten_like(like, dict(tensors))
    inputs, targets = make_data(plan, variables, target)
    loss, gradient = jax.jit(jax.value_and_grad(plan.loss))(
        variables["params"], variables["constants"], inputs, targets
    )
    prediction = jax.jit(plan.model.colours)(variables, inputs)
    size = target.shape[:2]
    return {
        "encoding": np.asarray(inputs).reshape(*size, -1),
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


def after_steps(trainer: Trainer, counts: Sequence[int]) -> list[Numbers]:
    """`losses` (k,) and `params/...` after each of these rising numbers k of steps."""
    found, losses = [], np.empty(0, np.float32)
    for count in counts:
        losses = np.append(losses, trainer.advance(count - trainer.step))
        tensors = trainer.parameters()
        params = {n: x for n, x in tensors.items() if n.startswith("params/")}
        found.append({"losses": losses, **params})
    return found


class Deviation(NamedTuple):
    """How far apart two arrays are."""

    absolute: float  # the largest difference
    relative: float  # over the largest magnitude of the first


def deviations(ours: Numbers, theirs: Numbers) -> dict[str, Deviation]:
    """The deviation of every leaf; a ValueError names a leaf that does not match."""
    found = {}
    for name in (*ours, *theirs):
        if name not in ours or name not in theirs:
            raise ValueError(f"{name} is on one side only")
        a, b = (np.asarray(side[name], np.float64) for side in (ours, theirs))
        if a.shape != b.shape:
            raise ValueError(f"{name} is {a.shape} against {b.shape}")
        absolute = float(np.abs(a - b).max())
        found[name] = Deviation(absolute, absolute / float(np.abs(a).max()))
    return found
