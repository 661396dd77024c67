"""Section steps: seconds a training step, like for like, in turns."""

import itertools
import statistics

from jax_inr.encodings import from_config
from jax_inr.experiments.benchmark.contenders import (
    CONTENDERS,
    MISSING,
    PRODUCT_SIDE,
    alternate,
)
from jax_inr.experiments.benchmark.options import Options
from jax_inr.experiments.report import Json, Say, Section, table
from jax_inr.presets import preset

QUICK = ("product", "optimized, jax", "optimized, torch", "cnn, jax")


def measure(options: Options, say: Say) -> Json:
    """Seconds of every turn of each contender."""
    asked = QUICK if options.quick else tuple(CONTENDERS)
    turns = 2 if options.quick else options.turns
    say(f"{turns} turns of {len(asked)} contenders")
    return {"asked": asked, "seconds": alternate(asked, turns)}


def step_flops(name: str, height: int = 224, width: int = 224) -> float:
    """Arithmetic of a training step of a preset, counted from its products, in GFLOP.

    Forward and weight gradient for every layer, input gradient for all but the first.
    """
    config = preset(name)
    taps = 9 if config.network == "cnn" else 1
    num_features = from_config(config, height, width).num_features
    widths = (num_features, *config.hidden_features, 3)
    layers = [a * b * taps for a, b in itertools.pairwise(widths)]
    products = 3 * sum(layers) - layers[0]
    return 2 * height * width * products / 1e9


def write(measured: Json) -> str:
    """Seconds, GFLOP/s and the share of the matrix product, turn by turn."""
    times = measured["seconds"]
    seconds_a_gflop = times["product"]
    peak = 1 / statistics.median(seconds_a_gflop)
    rows = [
        ("step", "median s", "min–max s", "GFLOP/s", "share of the matrix product"),
        (
            f"{PRODUCT_SIDE}³ float32 matrix product (XLA)",
            "",
            "",
            f"{peak:.0f}",
            "100%",
        ),
    ]
    for name in measured["asked"][1:]:
        if name not in times:
            rows.append((name, MISSING, "", "", ""))
            continue
        seconds, gflop = times[name], step_flops(name.split(",")[0])
        median = statistics.median(seconds)
        # Turn by turn, so that a slow spell of the machine meets both alike.
        shares = [
            gflop * product / step
            for step, product in zip(seconds, seconds_a_gflop, strict=True)
        ]
        rows.append(
            (
                name,
                f"{median:.4f}",
                f"{min(seconds):.4f}–{max(seconds):.4f}",
                f"{gflop / median:.0f}",
                f"{statistics.median(shares):.0%}",
            )
        )
    return "\n\n".join(
        [table(*rows, numbers=True), *(_ratio(n, times) for n in ("optimized", "cnn"))]
    )


def _ratio(name: str, times: Json) -> str:
    """How many times as fast as torch a step of JAX is, the median over turns."""
    torch, jax = times.get(f"{name}, torch"), times.get(f"{name}, jax")
    if not (torch and jax):
        return f"`{name}`: torch is not installed, so JAX stands alone."
    ratio = statistics.median(a / b for a, b in zip(torch, jax, strict=True))
    return (
        f"`{name}`: a step of JAX is {ratio:.2f} times as fast as one of torch_ref "
        "(median over turns)."
    )


SECTION = Section("Seconds a step, like for like", write)
