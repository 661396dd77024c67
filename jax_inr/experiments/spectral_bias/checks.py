"""What the measurements say of the instruments themselves."""

import numpy as np

from jax_inr.experiments.report import Json
from jax_inr.experiments.spectral_bias.verdicts import Verdict, is_monotone

PARSEVAL, KERNEL, DECAY = 1e-5, 1e-5, 0.05  # what the instruments must hold to


def checks(kept: Json) -> list[Verdict]:
    """The instruments themselves."""
    found = []
    if "checks/parseval" in kept:
        errors = kept["checks/parseval"]["errors"]
        worst = max(errors.values())
        found.append(
            Verdict(
                f"The spectrum keeps the energy (Parseval) to {PARSEVAL:.0e}.",
                "holds" if worst <= PARSEVAL else "does not hold",
                f"{worst:.1e} at worst, over images of {', '.join(errors)} pixels",
            )
        )
    if "checks/kernel" in kept:
        run = kept["checks/kernel"]
        found.append(
            Verdict(
                "The NTK is the product of the Jacobian with itself.",
                "holds" if run["error"] <= KERNEL else "does not hold",
                f"{run['error']:.1e} of its largest entry away from central "
                f"differences, {run['outputs']} outputs and {run['num_params']} "
                "parameters",
            )
        )
    for name in ("none", "gaussian"):
        if f"ntk/{name}" in kept:
            found.append(_decay(name, kept[f"ntk/{name}"]))
    for name, wanted in (("none", True), ("gaussian", False)):
        if f"waves/{name}" in kept:
            found.append(_order(name, wanted, kept[f"waves/{name}"]["learned_steps"]))
    return found


def _decay(name: str, run: Json) -> Verdict:
    rates = np.abs(np.array(run["rates"]) - 1).max()
    holds = max(run["worst"], rates) <= DECAY
    return Verdict(
        f"{_encoding(name)}: the NTK predicts the decay of the first "
        f"{len(run['rates'])} components within {DECAY:.0%}.",
        "holds" if holds else "does not hold",
        f"rates of decay at a vanishing step {rates:.2%} off at worst; after "
        f"{run['steps'][-1]} steps, which leave {1 - run['lost'][-1][0]:.1%} of the "
        f"first component, what is left of each is {run['worst']:.1%} of its start off "
        "at worst",
    )


def _order(name: str, wanted: bool, draws: list[list[int | None]]) -> Verdict:
    monotone = sum(is_monotone(steps) for steps in draws)
    holds = monotone == len(draws) if wanted else monotone == 0
    return Verdict(
        f"{_encoding(name)}: the order in which sinusoids are learned is "
        f"{'' if wanted else 'not '}that of their frequencies.",
        "holds" if holds else "does not hold",
        f"monotone in {monotone} of {len(draws)} draws; steps "
        f"{'; '.join(', '.join(str(s or 'never') for s in steps) for steps in draws)}",
    )


def _encoding(name: str) -> str:
    return "No encoding" if name == "none" else "Gaussian encoding"
