"""Section runs: the same fit in both back ends, from one start and from two."""

import multiprocessing
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from typing import Any, NamedTuple

import numpy as np

from jax_inr.experiments.report import Drawing, Json, Say, Section, table
from jax_inr.presets import preset

SAME_START_DB, OWN_DRAWS_DB = 0.1, 0.3  # how far apart the ends may be
RUNS = {
    "jax": "JAX",
    "same": "torch, same B and weights",
    "own": "torch, its own draw of seed 0",
}


class Options(NamedTuple):
    """How long the report's sections measure."""

    steps: int = 2000  # of the section runs
    turns: int = 9  # of the section contiguity


def alone(function: Callable, *arguments: Any) -> Any:
    """Call in a process of its own: thread pools of two frameworks fight in one."""
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(max_workers=1, mp_context=spawn) as pool:
        return pool.submit(function, *arguments).result()


def measure(options: Options, say: Say) -> Json:
    """Evaluations of `optimized` in JAX, and in torch from the same and its own start.

    `say` goes to another process, and so must be a function of a module.
    """
    from jax_inr.experiments.parity import numbers

    config = preset("optimized").replace(steps=options.steps)
    jax_rows, start = alone(numbers.run_fit, "jax", config, None, say)
    same_rows, _ = alone(numbers.run_fit, "torch", config, start, say)
    own_rows, _ = alone(numbers.run_fit, "torch", config, None, say)
    rows = {"jax": jax_rows, "same": same_rows, "own": own_rows}
    return {"steps": options.steps, **rows}


def write(measured: Json) -> str:
    """Where the three runs end, and whether they end close enough."""
    last = {name: measured[name][-1] for name in RUNS}

    def cells(name: str) -> list[str]:
        found = []
        for key in ("psnr_db", "pooled_psnr_db"):
            # Zero added, so that no -0.000 is shown.
            difference = round(last[name][key] - last["jax"][key], 3) + 0.0
            found += [f"{last[name][key]:.3f}"]
            found += ["" if name == "jax" else f"{difference:+.3f}"]
        return found

    def verdict(name: str, limit_db: float) -> str:
        difference = abs(last[name]["psnr_db"] - last["jax"]["psnr_db"])
        within = "within" if difference <= limit_db else "**not within**"
        return f"{difference:.3f} dB apart, {within} {limit_db} dB"

    head = ("run", "PSNR dB", "against JAX", "pooled PSNR dB", "against JAX")
    rows = [(title, *cells(name)) for name, title in RUNS.items()]
    return "\n\n".join(
        [
            f"`optimized` on the sample cat, 224x224, {measured['steps']} steps.",
            table(head, *rows, numbers=True),
            f"From the same start the two end {verdict('same', SAME_START_DB)}; from "
            f"independent draws, {verdict('own', OWN_DRAWS_DB)}. The pooled PSNR is "
            "the notebook's number, over all evaluations.",
        ]
    )


def draw(measured: Json) -> Any:
    """The PSNR curves of the three runs, and their distance from JAX's."""
    from jax_inr.draw import plots

    figure = plots.Figure(figsize=(8, 6.4), layout="constrained")
    top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=(2, 1))
    styles = (
        ("jax", "JAX", {"color": plots.BLUE, "lw": 3, "alpha": 0.6}),
        ("same", "torch, same start", {"color": plots.RED, "ls": "--"}),
        ("own", "torch, its own draw", {"color": "0.4", "ls": ":"}),
    )
    reference = [row["psnr_db"] for row in measured["jax"]]
    for name, label, style in styles:
        steps = [row["step"] for row in measured[name]]
        psnr_db = [row["psnr_db"] for row in measured[name]]
        top.plot(steps, psnr_db, label=label, **style)
        if name != "jax":
            bottom.plot(steps, np.subtract(psnr_db, reference), label=label, **style)
    top.set_ylabel("PSNR in dB")
    top.legend(loc="lower right")
    bottom.axhline(0, color=plots.BLUE, lw=1)
    bottom.set_ylabel("against JAX, in dB")
    bottom.set_xlabel("step")
    for axes in (top, bottom):
        axes.grid(alpha=0.3)
    figure.suptitle(
        "The preset optimized on the sample cat, in both back ends", fontsize=12
    )
    return figure


SECTION = Section(
    "The same fit in both",
    write,
    (Drawing("", "PSNR of both back ends", draw),),
)
