"""The parity report: what the two back ends say, measured, written and drawn.

Every section is measured on its own, and kept in a JSON file; text and picture are
made from that file alone.
"""

import argparse
import importlib
import importlib.util
import json
import multiprocessing
import os
import statistics
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from jax_inr.draw import plots
from jax_inr.draw.settings import default_settings
from jax_inr.errors import JaxInrError
from jax_inr.experiments.benchmark.report import machine
from jax_inr.io import summaries
from jax_inr.io.atomic import write_atomic
from jax_inr.io.text import to_json
from jax_inr.presets import preset

Json = dict[str, Any]

# A step of the CNN on the whole picture of 224x224 takes seconds.
DEVIATION_SIZES = {"optimized": 224, "cnn": 112}
COUNTS = (1, 10, 100)
NOT_CAUGHT = "not caught"
SAME_START_DB, OWN_DRAWS_DB = 0.1, 0.3


def measure(section: str, steps: int, turns: int) -> Json:
    """What a section measures: runs of `steps` steps, contiguity in `turns` turns."""
    from jax_inr.experiments.parity import numbers

    match section:
        case "runs":
            config = preset("optimized").replace(steps=steps)
            jax_rows, start = alone(numbers.run_fit, "jax", config, None)
            same_rows, _ = alone(numbers.run_fit, "torch", config, start)
            own_rows, _ = alone(numbers.run_fit, "torch", config, None)
            return {"steps": steps, "jax": jax_rows, "same": same_rows, "own": own_rows}
        case "deviations":
            return {
                name: alone(numbers.preset_deviations, name, size, COUNTS)
                for name, size in DEVIATION_SIZES.items()
            }
        case "mutations":
            caught = {}
            # Beside the tests that it runs; scripts/parity.py finds it there.
            mutations: Any = importlib.import_module("mutations")
            for mutation, test in mutations.first_failures():
                print(f"{mutation.name}: {test}", flush=True)
                caught[mutation.name] = {"file": mutation.file, "test": test}
            return caught
        case "contiguity":
            return alone(numbers.time_layouts, turns)
    raise ValueError(section)


def alone(function: Callable, *arguments: Any) -> Any:
    """Call in a process of its own: thread pools of two frameworks fight in one."""
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(max_workers=1, mp_context=spawn) as pool:
        return pool.submit(function, *arguments).result()


def write_deviations(measured: Json) -> str:
    parts = [
        "Both back ends start from the same B and weights, float32 throughout. A "
        "difference is the largest over all elements, a share is that over the largest "
        "magnitude among them. The last column is the yardstick: torch against itself, "
        "every number of B and of the weights moved to the next float32."
    ]
    for name, result in measured.items():
        table = [
            "| what | JAX against torch | share | torch, nudged: share |",
            "|---|---|---|---|",
        ]
        shares = (0.0, 0.0)
        sides = (result["counts"], result["jax"], result["nudged"])
        for count, jax, torch in zip(*sides, strict=True):
            steps = "1 step" if count == 1 else f"{count} steps"
            for what, leaves in _groups(list(jax), steps).items():
                absolute = max(jax[leaf][0] for leaf in leaves)
                shares = tuple(max(s[leaf][1] for leaf in leaves) for s in (jax, torch))
                table.append(
                    f"| {what} | {absolute:.1e} | {shares[0]:.1e} | {shares[1]:.1e} |"
                )
        apart = "no further" if shares[0] <= 3 * shares[1] else "**further**"
        devices = ", ".join(f"{who} on {it}" for who, it in result["devices"].items())
        parts += [
            f"### `{name}`, {result['size']}x{result['size']} pixels",
            "\n".join(table),
            f"After {result['counts'][-1]} steps the back ends are {apart} apart than "
            f"torch is from itself after a nudge, within a factor of 3 ({devices}).",
        ]
    return "\n\n".join(parts)


def _groups(leaves: Sequence[str], steps: str) -> dict[str, list[str]]:
    """The lines of a table: what it says, and the leaves that the line is about."""
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


def write_runs(measured: Json) -> str:
    last = {name: measured[name][-1] for name in ("jax", "same", "own")}

    def line(title: str, name: str) -> str:
        cells = []
        for key in ("psnr_db", "pooled_psnr_db"):
            # Zero added, so that no -0.000 is shown.
            difference = round(last[name][key] - last["jax"][key], 3) + 0.0
            cells += [f"{last[name][key]:.3f}"]
            cells += ["" if name == "jax" else f"{difference:+.3f}"]
        return f"| {title} | {' | '.join(cells)} |"

    def verdict(name: str, limit: float) -> str:
        apart = abs(last[name]["psnr_db"] - last["jax"]["psnr_db"])
        within = "within" if apart <= limit else "**not within**"
        return f"{apart:.3f} dB apart, {within} {limit} dB"

    table = [
        "| run | PSNR dB | against JAX | pooled PSNR dB | against JAX |",
        "|---|---|---|---|---|",
        line("JAX", "jax"),
        line("torch, same B and weights", "same"),
        line("torch, its own draw of seed 0", "own"),
    ]
    return "\n\n".join(
        [
            f"`optimized` on the sample cat, 224x224, {measured['steps']} steps.",
            "\n".join(table),
            f"From the same start the two end {verdict('same', SAME_START_DB)}; from "
            f"independent draws, {verdict('own', OWN_DRAWS_DB)}. The pooled PSNR is "
            "the notebook's number, over all evaluations.",
        ]
    )


@default_settings()
def draw_runs(measured: Json) -> bytes:
    """The PSNR curves of the three runs, and their distance from JAX's, as a PNG."""
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
    return plots.png(figure)


def write_mutations(measured: Json) -> str:
    lines = ["| fault | in | first test to fail |", "|---|---|---|"]
    missed = 0
    for name, result in measured.items():
        test = f"`{result['test']}`"
        if result["test"] == NOT_CAUGHT:
            missed, test = missed + 1, f"**{NOT_CAUGHT}**"
        lines.append(f"| {name} | `{result['file']}` | {test} |")
    count = f"{len(measured) - missed} of {len(measured)}"
    return (
        "Each fault is put into a copy of the sources (`tests/mutations.py` says "
        "how), and `tests/test_parity.py` is run there; without a fault it passes. "
        f"{count} are caught.\n\n" + "\n".join(lines)
    )


def write_contiguity(measured: Json) -> str:
    seconds = measured["seconds"]
    pairs = zip(seconds["view"], seconds["contiguous"], strict=True)
    ratios = [view / contiguous for view, contiguous in pairs]
    ratio = statistics.median(ratios)
    if ratio >= 1.75:
        verdict = "it holds here"
    elif ratio > 1.05:
        verdict = "here it helps, and does not double"
    elif ratio >= 0.95:
        verdict = "here it makes no difference"
    else:
        verdict = "here it is the slower of the two"
    lines = ["| encoding | median s a step | min–max s |", "|---|---|---|"]
    for name, title in (("view", "permuted view"), ("contiguous", "contiguous")):
        median = statistics.median(seconds[name])
        low, high = min(seconds[name]), max(seconds[name])
        lines.append(f"| {title} | {median:.4f} | {low:.4f}–{high:.4f} |")
    return (
        "The notebook says of its `.contiguous()` that it “actually DOUBLES the "
        f"speed”: {verdict}. A step of `optimized` in torch_ref is {ratio:.2f} times "
        f"as fast with the contiguous encoding as with the view (median of "
        f"{len(ratios)} turns, {min(ratios):.2f}–{max(ratios):.2f}; "
        f"{measured['device']}, {measured['threads']} threads).\n\n" + "\n".join(lines)
    )


SECTIONS: dict[str, tuple[str, Callable[[Json], str]]] = {
    # name: title, from measurements to text
    "runs": ("The same fit in both", write_runs),
    "deviations": ("The same numbers in both", write_deviations),
    "mutations": ("What the parity tests see", write_mutations),
    "contiguity": ("Does a contiguous encoding double the speed?", write_contiguity),
}


def write_report(kept: Json, out: Path) -> None:
    """OUT.md, and the picture beside it, from what OUT.json keeps."""
    parts = [
        "# Parity",
        "`jax_inr` against `torch_ref`, the notebook in PyTorch. Made by "
        "`scripts/parity.py`; every number is measured.",
    ]
    for name, (title, write) in SECTIONS.items():
        if name not in kept:
            continue
        section = kept[name]
        parts += [f"## {title}", write(section["measured"])]
        if name == "runs":
            picture = out.parent / "images" / f"{out.stem}.png"
            picture.parent.mkdir(parents=True, exist_ok=True)
            write_atomic(picture, draw_runs(section["measured"]))
            parts += [f"![PSNR of both back ends](images/{picture.name})"]
        versions = ", ".join(
            f"{package} {version}"
            for package, version in section["versions"].items()
            if package != "python"  # the machine's line has it
        )
        parts += [f"`{section['command']}` on {section['machine']}; {versions}."]
    write_atomic(out, ("\n\n".join(parts) + "\n").encode())


def main(argv: Sequence[str] | None = None) -> int:
    """Measure sections, keep the others' earlier results, write the report."""
    parser = argparse.ArgumentParser(description="Write the parity report.")
    parser.add_argument("sections", nargs="*", help=f"of {', '.join(SECTIONS)}; or all")
    parser.add_argument("--steps", type=int, default=2000, help="of the section runs")
    parser.add_argument(
        "--turns", type=int, default=9, help="of the section contiguity"
    )
    parser.add_argument("--out", type=Path, default=Path("docs/parity.md"))
    options = parser.parse_args(argv)
    unknown = set(options.sections) - set(SECTIONS)
    if unknown:
        parser.error(f"unknown section {', '.join(sorted(unknown))}")
    if importlib.util.find_spec("torch") is None:
        parser.error('torch is not installed; pip install -e ".[torch]"')
    # JAX would otherwise take three quarters of a GPU's memory at once.
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    data = options.out.with_suffix(".json")
    arguments = " ".join(sys.argv[1:] if argv is None else argv)
    try:
        for name in options.sections or SECTIONS:
            measured = measure(name, options.steps, options.turns)
            # Read anew, and written at once: a section takes long.
            kept = json.loads(data.read_text()) if data.exists() else {}
            kept[name] = {
                "machine": machine(),
                "versions": summaries.versions("torch") | summaries.versions("jax"),
                "command": f"python scripts/parity.py {arguments}".rstrip(),
                "measured": measured,
            }
            text = to_json(kept, indent=1) + "\n"
            data.parent.mkdir(parents=True, exist_ok=True)
            write_atomic(data, text.encode())
            write_report(json.loads(text), options.out)
    except JaxInrError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    print(f"written to {options.out}")
    return 0
