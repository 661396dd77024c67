"""The table of a comparison: means, paired differences, the pictures side by side."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table

from jax_inr.draw import plots
from jax_inr.draw.settings import Figure, as_written, default_settings
from jax_inr.experiments.compare.protocol import BUDGET, SETTINGS, Kind, Task
from jax_inr.experiments.compare.store import Store, pixels_hash
from jax_inr.io.atomic import write_atomic
from jax_inr.io.images import Picture
from jax_inr.io.text import shown, to_json

Json = dict[str, Any]
TEST = "test_psnr_db"
# arXiv 2006.10739, table 1, as its code printed them: 16 pictures of 512x512 each.
PUBLISHED: dict[Kind, dict[str, float]] = {
    "natural": {
        "none": 19.323,
        "basic": 21.716,
        "positional": 24.947,
        "gaussian": 25.568,
    },
    "text": {"none": 18.397, "basic": 20.478, "positional": 27.567, "gaussian": 30.470},
}
PAIRS = (
    ("basic", "none"),
    ("positional", "basic"),
    ("gaussian", "positional"),
    ("gaussian", "none"),
    ("ridge", "gaussian"),
    ("bicubic", "gaussian"),
    ("ours", "gaussian"),
    ("ours", "bicubic"),
)
MAX_SHOWN = 16  # pictures in the figure


def student_interval(differences: np.ndarray) -> tuple[float, float]:
    """Mean of paired differences (n,) and the half width of its 95 % interval.

    Student's t with n - 1 degrees of freedom; infinite for a single pair.
    """
    # Imported late: scipy takes time.
    from scipy.special import stdtrit

    count = len(differences)
    if count < 2:
        return float(differences.mean()), math.inf
    error = differences.std(ddof=1) / math.sqrt(count)
    return float(differences.mean()), float(stdtrit(count - 1, 0.975) * error)


def summarise(records: Sequence[Json], task: Task) -> Json:
    """Mean and deviation of every row, and the paired differences."""
    by_row: dict[str, dict[str, Json]] = {}
    for record in records:
        pixels = record["recipe"]["pixels"]
        by_row.setdefault(record["row"], {})[pixels] = record
    rows = {}
    for row, found in by_row.items():
        psnrs = np.array([record[TEST] for record in found.values()])
        one = {
            "pictures": len(psnrs),
            "mean_db": float(psnrs.mean()),
            "deviation_db": float(psnrs.std(ddof=1)) if len(psnrs) > 1 else None,
            "train_mean_db": _mean(found, "train_psnr_db"),
            "heldout_mean_db": _mean(found, "heldout_psnr_db"),
        }
        if all("seconds" in record for record in found.values()):
            one["fit_seconds"] = sum(r["seconds"]["fit"] for r in found.values())
        rows[row] = one
    differences = []
    for first, second in PAIRS:
        both = sorted(set(by_row.get(first, {})) & set(by_row.get(second, {})))
        if not both:
            continue
        pairs = np.array(
            [by_row[first][p][TEST] - by_row[second][p][TEST] for p in both]
        )
        mean, half = student_interval(pairs)
        differences.append(
            {
                "of": [first, second],
                "mean_db": mean,
                "interval_db": [mean - half, mean + half],
                "wins": int((pairs > 0).sum()),
                "pictures": len(pairs),
            }
        )
    published = PUBLISHED[task.kind]
    return {"rows": rows, "differences": differences, "published_mean_db": published}


def _mean(found: dict[str, Json], name: str) -> float:
    return float(np.mean([record[name] for record in found.values()]))


def row_cells(summary: Json, row: str) -> list[str]:
    """A line of the table: row, mean, deviation, published, trained, seconds."""
    one, published = summary["rows"][row], summary["published_mean_db"].get(row)
    deviation, seconds = one["deviation_db"], one.get("fit_seconds")
    return [
        row,
        f"{one['mean_db']:.2f}",
        "–" if deviation is None else f"{deviation:.2f}",
        "–" if published is None else f"{published:.2f}",
        f"{one['heldout_mean_db']:.2f}",
        f"{one['train_mean_db']:.2f}",
        "–" if seconds is None else f"{seconds:.0f}",
    ]


def difference_cells(one: Json) -> list[str]:
    """A line of the differences: which, mean, interval, wins."""
    low, high = one["interval_db"]
    interval = "–" if math.isinf(low) else f"{low:+.2f} to {high:+.2f}"
    first, second = one["of"]
    wins = f"{one['wins']} of {one['pictures']}"
    return [f"{first} - {second}", f"{one['mean_db']:+.2f}", interval, wins]


ROW_HEAD = ["", "test", "deviation", "published", "held out", "trained", "seconds"]
DIFFERENCE_HEAD = ["", "difference", "95 % interval", "wins"]


def tables(summary: Json) -> list[Table]:
    """The two tables for a terminal."""
    lines = [row_cells(summary, row) for row in summary["rows"]]
    pairs = [difference_cells(one) for one in summary["differences"]]
    made = []
    for head, body in ((ROW_HEAD, lines), (DIFFERENCE_HEAD, pairs)):
        table = Table(box=None, padding=(0, 2, 0, 0))
        for index, name in enumerate(head):
            table.add_column(name, justify="right" if index else "left")
        for cells in body:
            table.add_row(*cells)
        made.append(table)
    return made


def markdown(summary: Json, about: Json, task: Task) -> str:
    """The report of a comparison."""
    rate, octaves, sigma = SETTINGS[task.kind]
    count = max(one["pictures"] for one in summary["rows"].values())
    budget = (
        f" `--budget`: a step takes a tenth (1/{BUDGET}) of the trained pixels, drawn "
        "anew each time, and so a tenth of the arithmetic."
        if task.budget
        else ""
    )
    lines = [f"## {task.kind.capitalize()} pictures", ""]
    lines += [
        f"{count} pictures ({', '.join(about['sizes'])}); `{about['command']}`",
        "",
        "The protocol of arXiv 2006.10739 with the settings of its code: trained on "
        "even rows and columns, a quarter of the pixels; 4 dense layers, 256 wide, "
        "sigmoid; 256 frequencies, one B for all; Glorot normal weights; Adam, "
        f"{task.steps} steps, rate 1e-3, but {rate:g} for none and basic; positional "
        f"up to 2^{octaves:g} - 1 cycles, Gaussian of deviation {sigma:g}, for "
        "512x512 pixels; pictures of another size get as many cycles a pixel."
        f"{budget}",
        "",
        "PSNR in dB, mean over pictures: *test* on odd rows and columns, as in the "
        "paper; *held out* on all that is not trained on; *trained* on the quarter. "
        "The deviation is across pictures (n - 1). *published*: 16 pictures of 512x512 "
        "of the paper. *seconds* of fitting, all pictures together.",
        "",
        *_table(ROW_HEAD, [row_cells(summary, row) for row in summary["rows"]]),
        "",
        "Picture by picture, with Student's t interval of the mean difference:",
        "",
        *_table(DIFFERENCE_HEAD, [difference_cells(o) for o in summary["differences"]]),
        "",
        "*ours*: the same features and widths, GELU, a cosine schedule and 50 steps "
        "of warm-up. *ridge*: linear regression on the Gaussian features and a "
        "constant, in closed form; the penalty has the smallest error of generalised "
        "cross-validation on the trained pixels. *bilinear*, *bicubic* (Keys, "
        "a = -1/2): the trained quarter upsampled, each pixel at its own place.",
        "",
        f"![Pictures and fits](compare-{task.kind}.png)",
        "",
    ]
    return "\n".join(lines)


def _table(head: list[str], body: list[list[str]]) -> list[str]:
    rule = ["---", *["---:"] * (len(head) - 1)]
    return [f"| {' | '.join(cells)} |" for cells in (head, rule, *body)]


@default_settings()
def gallery(
    pictures: Sequence[Picture],
    records: Sequence[Json],
    rows: Sequence[str],
    store: Store,
) -> Figure:
    """A row of panels for each picture: itself, then each fit with its test PSNR."""
    found = {(r["row"], r["recipe"]["pixels"]): r[TEST] for r in records}
    shown_pictures = pictures[:MAX_SHOWN]
    size = (1.9 * (len(rows) + 1), 2.1 * len(shown_pictures))
    # Placed by hand: a layout engine takes seconds over many panels.
    figure = Figure(figsize=size)
    figure.subplots_adjust(0.005, 0.005, 0.995, 1 - 0.2 / size[1], 0.03, 0.12)
    axes = figure.subplots(len(shown_pictures), len(rows) + 1, squeeze=False)
    for line, picture in zip(axes, shown_pictures, strict=True):
        plots.show(line[0], picture.image)
        name = shown(Path(picture.path).name)[:24]
        as_written(line[0].set_title(name, fontsize=8, pad=3))
        for panel, row in zip(line[1:], rows, strict=True):
            plots.show(panel, store.prediction(row, picture))
            psnr_db = found[row, pixels_hash(picture)]
            panel.set_title(f"{row} {psnr_db:.2f}", fontsize=8, pad=3)
    return figure


def write(
    pictures: Sequence[Picture],
    records: Sequence[Json],
    task: Task,
    store: Store,
    command: str,
) -> Json:
    """Write compare-KIND.md, .json and .png into the store's folder; the summary."""
    rows = list(dict.fromkeys(record["row"] for record in records))
    summary = summarise(records, task)
    sizes = sorted({"x".join(map(str, p.image.shape[:2])) for p in pictures})
    about = {"command": command, "sizes": sizes, **task._asdict()}
    base = store.path / f"compare-{task.kind}"
    whole = {"about": about, **summary, "records": list(records)}
    text = to_json(whole, indent=1) + "\n"
    write_atomic(base.with_suffix(".json"), text.encode())
    figure = gallery(pictures, records, rows, store)
    write_atomic(base.with_suffix(".png"), plots.png(figure))
    write_atomic(base.with_suffix(".md"), markdown(summary, about, task).encode())
    return summary
