"""Section deviations: how far apart the same numbers come out in both back ends."""

from collections.abc import Sequence

from jax_inr.experiments.parity.runs import Options, alone
from jax_inr.experiments.report import Json, Say, Section, table

# A step of the CNN on the whole image of 224x224 takes seconds.
SIZES = {"optimized": 224, "cnn": 112}
COUNTS = (1, 10, 100)  # steps after which the numbers are compared
FACTOR = 3  # of torch's distance from itself, up to which JAX is no further


def measure(options: Options, say: Say) -> Json:
    """Deviations of every leaf before and after some steps, by preset."""
    from jax_inr.experiments.parity import numbers

    found = {}
    for name, size in SIZES.items():
        say(f"{name}: up to {COUNTS[-1]} steps of {size}x{size} pixels")
        found[name] = alone(numbers.preset_deviations, name, size, COUNTS)
    return found


def write(measured: Json) -> str:
    """A table a preset, and whether the back ends are further apart than rounding."""
    parts = [
        "Both back ends start from the same B and weights, float32 throughout. A "
        "difference is the largest over all elements, a share is that over the largest "
        "magnitude among them. The last column is the yardstick: torch against itself, "
        "every number of B and of the weights moved to the next float32."
    ]
    for name, result in measured.items():
        rows = [("what", "JAX against torch", "share", "torch, perturbed: share")]
        ours = theirs = 0.0  # of the last line
        sides = (result["counts"], result["jax"], result["perturbed"])
        for count, jax, torch in zip(*sides, strict=True):
            steps = "1 step" if count == 1 else f"{count} steps"
            for what, leaves in _lines(list(jax), steps).items():
                absolute = max(jax[leaf][0] for leaf in leaves)
                ours, theirs = (max(s[x][1] for x in leaves) for s in (jax, torch))
                rows.append((what, f"{absolute:.1e}", f"{ours:.1e}", f"{theirs:.1e}"))
        further = "no further" if ours <= FACTOR * theirs else "**further**"
        devices = ", ".join(f"{who} on {it}" for who, it in result["devices"].items())
        parts += [
            f"### `{name}`, {result['size']}x{result['size']} pixels",
            table(*rows, numbers=True),
            f"After {result['counts'][-1]} steps the back ends are {further} apart "
            "than torch is from itself after that perturbation, within a factor of "
            f"{FACTOR} ({devices}).",
        ]
    return "\n\n".join(parts)


def _lines(leaves: Sequence[str], steps: str) -> dict[str, list[str]]:
    """The lines of a table: what each says, and the leaves that it is about."""
    lines: dict[str, list[str]] = {}
    for leaf in leaves:
        kind, _, rest = leaf.partition("/")
        if kind == "losses":
            what = f"loss before each of {steps}"
        elif kind == "params":
            what = f"parameters after {steps}"
        else:
            what = f"{kind} of `{rest}`" if rest else kind
        lines.setdefault(what, []).append(leaf)
    return lines


SECTION = Section("The same numbers in both", write)
