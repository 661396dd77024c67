"""The parity report: what the two back ends say, measured, written and drawn."""

import argparse
import importlib
import importlib.util
import os
import shlex
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jax_inr.errors import JaxInrError
from jax_inr.experiments import report
from jax_inr.experiments.parity import deviations, runs
from jax_inr.experiments.parity.runs import Options, alone
from jax_inr.experiments.report import Json, Say, Section, table

NOT_CAUGHT = "not caught"
DOUBLED, FASTER, SLOWER = 1.75, 1.05, 0.95  # ratios from which a verdict is given


def measure_mutations(options: Options, say: Say) -> Json:
    """The first test of parity that fails with each fault put in on purpose."""
    # Beside the tests that it runs; scripts/parity.py finds it there.
    mutations: Any = importlib.import_module("mutations")
    caught = {}
    for mutation, test in mutations.first_failures():
        say(f"{mutation.name}: {test}")
        caught[mutation.name] = {"file": mutation.file, "test": test}
    return caught


def measure_contiguity(options: Options, say: Say) -> Json:
    """Seconds a step of torch_ref with two layouts of the encoding, in turns."""
    from jax_inr.experiments.parity import numbers

    return alone(numbers.time_layouts, options.turns)


def write_mutations(measured: Json) -> str:
    """A line for each fault, and how many are caught."""
    rows = [("fault", "in", "first test to fail")]
    missed = 0
    for name, result in measured.items():
        test = f"`{result['test']}`"
        if result["test"] == NOT_CAUGHT:
            missed, test = missed + 1, f"**{NOT_CAUGHT}**"
        rows.append((name, f"`{result['file']}`", test))
    return (
        "Each fault is put into a copy of the sources (`tests/mutations.py` says "
        "how), and `tests/test_parity.py` is run there; without a fault it passes. "
        f"{len(measured) - missed} of {len(measured)} are caught.\n\n" + table(*rows)
    )


def write_contiguity(measured: Json) -> str:
    """Seconds of both layouts, and whether the notebook's remark holds."""
    seconds = measured["seconds"]
    pairs = zip(seconds["view"], seconds["contiguous"], strict=True)
    ratios = [view / contiguous for view, contiguous in pairs]
    ratio = statistics.median(ratios)
    if ratio >= DOUBLED:
        verdict = "it holds here"
    elif ratio > FASTER:
        verdict = "here it helps, and does not double"
    elif ratio >= SLOWER:
        verdict = "here it makes no difference"
    else:
        verdict = "here it is the slower of the two"
    rows = [("encoding", "median s a step", "min–max s")]
    for name, title in (("view", "permuted view"), ("contiguous", "contiguous")):
        median = statistics.median(seconds[name])
        low, high = min(seconds[name]), max(seconds[name])
        rows.append((title, f"{median:.4f}", f"{low:.4f}–{high:.4f}"))
    return (
        "The notebook says of its `.contiguous()` that it “actually DOUBLES the "
        f"speed”: {verdict}. A step of `optimized` in torch_ref is {ratio:.2f} times "
        f"as fast with the contiguous encoding as with the view (median of "
        f"{len(ratios)} turns, {min(ratios):.2f}–{max(ratios):.2f}; "
        f"{measured['device']}, {measured['threads']} threads).\n\n"
        + table(*rows, numbers=True)
    )


MEASURES = {
    "runs": runs.measure,
    "deviations": deviations.measure,
    "mutations": measure_mutations,
    "contiguity": measure_contiguity,
}
SECTIONS = {
    "runs": runs.SECTION,
    "deviations": deviations.SECTION,
    "mutations": Section("What the parity tests see", write_mutations),
    "contiguity": Section(
        "Does a contiguous encoding double the speed?",
        write_contiguity,
    ),
}
HEADING = (
    "# Parity",
    "`jax_inr` against `torch_ref`, the notebook in PyTorch. Made by "
    "`scripts/parity.py`; every number is measured.",
)


def write(kept: Json, out: Path) -> None:
    """OUT.md, and the figure beside it, from what OUT.json keeps."""
    report.write(HEADING, SECTIONS, kept, out)


def say_line(text: str) -> None:
    """Print a line at once, from whatever process."""
    print(text, flush=True)


def main(argv: Sequence[str] | None = None) -> int:
    """Measure sections, keep the others' earlier results, write the report."""
    parser = argparse.ArgumentParser(description="Write the parity report.")
    parser.add_argument("sections", nargs="*", help=f"of {', '.join(SECTIONS)}; or all")
    usual = Options()
    parser.add_argument("--steps", type=int, default=usual.steps, help="of runs")
    parser.add_argument("--turns", type=int, default=usual.turns, help="of contiguity")
    parser.add_argument("--out", type=Path, default=Path("docs/parity.md"))
    options = parser.parse_args(argv)
    if importlib.util.find_spec("torch") is None:
        parser.error('torch is not installed; pip install -e ".[torch]"')
    # JAX would otherwise take three quarters of a GPU's memory at once.
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    words = ["python", "scripts/parity.py", *(sys.argv[1:] if argv is None else argv)]
    try:
        kept = report.measure(
            MEASURES,
            options.sections,
            Options(options.steps, options.turns),
            options.out.with_suffix(".json"),
            lambda name: shlex.join(words),
            say_line,
        )
        write(kept, options.out)
    except JaxInrError as error:
        hint = f"; {error.hint}" if error.hint else ""
        print(f"error: {error}{hint}", file=sys.stderr)
        return error.exit_code
    print(f"written to {options.out}")
    return 0
