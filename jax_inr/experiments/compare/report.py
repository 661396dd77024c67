"""The table of a comparison: means, paired differences, the images side by side."""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from rich.table import Table

from jax_inr.draw import plots
from jax_inr.draw.settings import Figure, as_written
from jax_inr.experiments import report
from jax_inr.experiments.compare.protocol import BUDGET, SETTINGS, Comparison, Kind
from jax_inr.experiments.compare.store import Store, pixels_hash
from jax_inr.experiments.report import Drawing, Json
from jax_inr.io.images import Image
from jax_inr.io.text import shown

TEST = "test_psnr_db"
# arXiv 2006.10739, table 1, as its code printed them: 16 images of 512x512 each.
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
MAX_SHOWN = 16  # images in the figure


def student_interval(differences: np.ndarray) -> tuple[float, float]:
    """Mean of paired differences (n,) and the half width of its 95 % interval.

    Student's t with n - 1 degrees of freedom; infinite for a single pair, and where a
    difference is infinite.
    """
    # Imported late: scipy takes time.
    from scipy import stats

    count = len(differences)
    if count < 2 or not np.isfinite(differences).all():
        return sum(differences.tolist()) / count, math.inf
    half = stats.t.ppf(0.975, count - 1) * stats.sem(differences)
    return float(differences.mean()), float(half)


def summarise(records: Sequence[Json], comparison: Comparison) -> Json:
    """Mean and deviation of every row, and the paired differences."""
    by_row: dict[str, dict[str, Json]] = {}
    for record in records:
        pixels = record["recipe"]["pixels"]
        by_row.setdefault(record["row"], {})[pixels] = record
    rows = {row: _row(list(found.values())) for row, found in by_row.items()}
    differences = []
    for first, second in PAIRS:
        both = sorted(set(by_row.get(first, {})) & set(by_row.get(second, {})))
        if not both:
            continue
        psnrs = [(by_row[first][p][TEST], by_row[second][p][TEST]) for p in both]
        # Both may be infinite, which is a tie.
        pairs = np.array([0.0 if a == b else a - b for a, b in psnrs])
        mean, half = student_interval(pairs)
        differences.append(
            {
                "of": [first, second],
                "mean_db": mean,
                "interval_db": [mean - half, mean + half],
                "wins": int((pairs > 0).sum()),
                "images": len(pairs),
            }
        )
    published = PUBLISHED[comparison.kind]
    return {"rows": rows, "differences": differences, "published_mean_db": published}


def _row(records: list[Json]) -> Json:
    """The numbers of a row over its images."""
    parts = {
        name: np.array([record[key] for record in records])
        for name, key in (
            ("test", TEST),
            ("train", "train_psnr_db"),
            ("heldout", "heldout_psnr_db"),
        )
    }
    test = parts["test"]
    has_deviation = len(test) > 1 and np.isfinite(test).all()
    numbers = {
        "images": len(records),
        "mean_db": float(test.mean()),
        "deviation_db": float(test.std(ddof=1)) if has_deviation else None,
        "train_mean_db": float(parts["train"].mean()),
        "heldout_mean_db": float(parts["heldout"].mean()),
    }
    if all("seconds" in record for record in records):
        numbers["fit_seconds"] = sum(record["seconds"]["fit"] for record in records)
    return numbers


ROW_HEAD = ["", "test", "deviation", "published", "held out", "trained", "seconds"]
DIFFERENCE_HEAD = ["", "difference", "95 % interval", "wins"]


def row_cells(summary: Json, row: str) -> list[str]:
    """A line of the table, a cell for each of ROW_HEAD."""
    numbers = summary["rows"][row]
    published = summary["published_mean_db"].get(row)
    deviation, seconds = numbers["deviation_db"], numbers.get("fit_seconds")
    return [
        row,
        f"{numbers['mean_db']:.2f}",
        "–" if deviation is None else f"{deviation:.2f}",
        "–" if published is None else f"{published:.2f}",
        f"{numbers['heldout_mean_db']:.2f}",
        f"{numbers['train_mean_db']:.2f}",
        "–" if seconds is None else f"{seconds:.0f}",
    ]


def difference_cells(difference: Json) -> list[str]:
    """A line of the differences, a cell for each of DIFFERENCE_HEAD."""
    low, high = difference["interval_db"]
    interval = "–" if not math.isfinite(low) else f"{low:+.2f} to {high:+.2f}"
    first, second = difference["of"]
    wins = f"{difference['wins']} of {difference['images']}"
    return [f"{first} - {second}", f"{difference['mean_db']:+.2f}", interval, wins]


def lines(summary: Json) -> list[list[list[str]]]:
    """The two tables, rows and differences, each with its head."""
    rows = [row_cells(summary, row) for row in summary["rows"]]
    differences = [difference_cells(each) for each in summary["differences"]]
    return [[ROW_HEAD, *rows], [DIFFERENCE_HEAD, *differences]]


def tables(summary: Json) -> list[Table]:
    """The two tables for a terminal."""
    made = []
    for head, *body in lines(summary):
        table = Table(box=None, padding=(0, 2, 0, 0))
        for index, name in enumerate(head):
            table.add_column(name, justify="right" if index else "left")
        for cells in body:
            table.add_row(*cells)
        made.append(table)
    return made


def paragraphs(about: Json, summary: Json) -> list[str]:
    """The report of a comparison, without its figure."""
    rate, octaves, sigma = SETTINGS[about["kind"]]
    count = max(numbers["images"] for numbers in summary["rows"].values())
    budget = (
        f" `--budget`: a step takes a tenth (1/{BUDGET}) of the trained pixels, drawn "
        "anew each time, and so a tenth of the arithmetic."
        if about["budget"]
        else ""
    )
    rows, differences = (report.table(*part, numbers=True) for part in lines(summary))
    return [
        f"## {about['kind'].capitalize()} images",
        f"{count} images ({', '.join(about['sizes'])}); `{about['command']}`",
        "The protocol of arXiv 2006.10739 with the settings of its code: trained on "
        "even rows and columns, a quarter of the pixels; 4 dense layers, 256 wide, "
        "sigmoid; 256 frequencies, one B for all; Glorot normal weights; Adam, "
        f"{about['steps']} steps, rate 1e-3, but {rate:g} for none and basic; "
        f"positional up to 2^{octaves:g} - 1 cycles, Gaussian of deviation {sigma:g}, "
        "for 512x512 pixels; images of another size get as many cycles a pixel."
        + budget,
        "PSNR in dB, mean over images: *test* on odd rows and columns, as in the "
        "paper; *held out* on all that is not trained on; *trained* on the quarter. "
        "The deviation is across images (n - 1). *published*: 16 images of 512x512 "
        "of the paper. *seconds* of fitting, all images together.",
        rows,
        "Image by image, with Student's t interval of the mean difference:",
        differences,
        "*ours*: the same features and widths, GELU, a cosine schedule and 50 steps "
        "of warm-up. *ridge*: linear regression on the Gaussian features and a "
        "constant, in closed form; the penalty has the smallest error of generalised "
        "cross-validation on the trained pixels. *bilinear*, *bicubic* (Keys, "
        "a = -1/2): the trained quarter upsampled, each pixel at its own place.",
    ]


def gallery(
    images: Sequence[Image],
    records: Sequence[Json],
    rows: Sequence[str],
    store: Store,
) -> Figure:
    """A row of panels for each image: itself, then each fit with its test PSNR."""
    found = {(r["row"], r["recipe"]["pixels"]): r[TEST] for r in records}
    drawn = images[:MAX_SHOWN]
    size = (1.9 * (len(rows) + 1), 2.1 * len(drawn))
    # Placed by hand: a layout engine takes seconds over many panels.
    figure = Figure(figsize=size)
    figure.subplots_adjust(0.005, 0.005, 0.995, 1 - 0.2 / size[1], 0.03, 0.12)
    axes = figure.subplots(len(drawn), len(rows) + 1, squeeze=False)
    for line, image in zip(axes, drawn, strict=True):
        plots.show(line[0], image.image)
        name = shown(Path(image.path).name)[:24]
        as_written(line[0].set_title(name, fontsize=8, pad=3))
        for panel, row in zip(line[1:], rows, strict=True):
            plots.show(panel, store.prediction(row, image))
            psnr_db = found[row, pixels_hash(image)]
            panel.set_title(f"{row} {psnr_db:.2f}", fontsize=8, pad=3)
    return figure


def write(
    images: Sequence[Image],
    records: Sequence[Json],
    comparison: Comparison,
    store: Store,
    command: str,
) -> Json:
    """Write compare-KIND.md, .json and images/compare-KIND.png; the summary."""
    rows = list(dict.fromkeys(record["row"] for record in records))
    summary = summarise(records, comparison)
    sizes = sorted({"x".join(map(str, i.image.shape[:2])) for i in images})
    about = {"command": command, "sizes": sizes, **comparison._asdict()}
    out = store.path / f"compare-{comparison.kind}.json"
    report.keep(out, {"about": about, **summary, "records": list(records)})
    drawing = Drawing(
        "", "Images and fits", lambda _: gallery(images, records, rows, store)
    )
    figures = report.draw([drawing], summary, out)
    report.write_text([*paragraphs(about, summary), *figures], out)
    return summary
