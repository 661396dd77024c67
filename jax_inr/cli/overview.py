"""What many runs come to: one summary, tables, a figure of a sweep, a contact sheet."""

import csv
import io
import math
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from rich.table import Table
from rich.text import Text

from jax_inr.errors import ImageError
from jax_inr.io.atomic import write_atomic
from jax_inr.io.text import shown, to_json

# Files beside the runs' folders; config.json stands for the folder of a single run.
FILES = (
    "summary.json",
    "runs.csv",
    "sweep.csv",
    "sweep.png",
    "contact-sheet.png",
    "config.json",
)
QUALITIES = ("psnr_db", "psnr_8bit_db", "train_psnr_db", "heldout_psnr_db", "ssim")
TILE, MOST_TILES = 192, 400  # pixels a side; of one sheet


class Result(NamedTuple):
    """A finished run of many."""

    name: str
    image: str
    point: dict[str, Any]  # the values of the swept fields
    summary: dict[str, Any]


class Point(NamedTuple):
    """What the seeds of one point of a sweep come to, on one image."""

    image: str
    point: dict[str, Any]  # without the seed
    results: list[Result]

    def values(self, quality: str) -> list[float]:
        """That quality of each run that has it."""
        found = (result.summary.get(quality) for result in self.results)
        return [value for value in found if value is not None]

    def mean(self, quality: str) -> float:
        """The mean over the seeds; NaN where no run has that quality."""
        values = self.values(quality)
        return statistics.fmean(values) if values else math.nan

    def spread(self, quality: str) -> float:
        """The standard deviation over the seeds (n - 1); NaN of fewer than two."""
        values = self.values(quality)
        if len(values) < 2 or not all(map(math.isfinite, values)):
            return math.nan
        return statistics.stdev(values)


def points_of(results: Sequence[Result]) -> list[Point]:
    """The results by image and point, the seeds of each together."""
    points: dict[Any, Point] = {}
    for result in results:
        point = {k: v for k, v in result.point.items() if k != "seed"}
        key = (result.image, *point.items())
        points.setdefault(key, Point(result.image, point, [])).results.append(result)
    return list(points.values())


def write_overview(
    out: Path,
    results: Sequence[Result],
    failures: dict[str, Exception],
    varied: dict[str, list[Any]],
) -> dict[str, Any]:
    """Write FILES, the summary last, and return what the summary says."""
    whole = {
        "runs": {result.name: result.summary for result in results},
        "failed": {name: str(error) for name, error in failures.items()},
        "sweep": varied,
    }
    if results:
        _write_csv(out / "runs.csv", [_row(result) for result in results])
        write_atomic(out / "contact-sheet.png", contact_sheet(out, results))
    if results and varied:
        _write_csv(out / "sweep.csv", [_mean_row(p) for p in points_of(results)])
        if len(results) > 1:
            from jax_inr.draw import plots
            from jax_inr.draw.settings import default_settings

            with default_settings():
                figure = draw_sweep(points_of(results), varied)
                write_atomic(out / "sweep.png", plots.png(figure))
    write_atomic(out / "summary.json", (to_json(whole, indent=1) + "\n").encode())
    return whole


def _row(result: Result) -> dict[str, Any]:
    """A run as a line of runs.csv."""
    summary = result.summary
    image = summary["image"]
    return {
        "run": result.name,
        "path": image["path"],
        "height": image["height"],
        "width": image["width"],
        **result.point,
        **{name: summary[name] for name in QUALITIES if name in summary},
        "steps": summary["steps"],
        "num_params": summary["num_params"],
        "fit_seconds": summary["seconds"]["fit"],
        "stopped": summary["stopped"],
    }


def _mean_row(point: Point) -> dict[str, Any]:
    """A point as a line of sweep.csv."""
    row = {"image": point.image, **point.point, "seeds": len(point.results)}
    for name in QUALITIES:
        if point.values(name):
            row |= {f"{name}_mean": point.mean(name), f"{name}_std": point.spread(name)}
    return row


def _write_csv(path: Path, rows: list[dict[str, Any]]) -> None:
    names = list(dict.fromkeys(name for row in rows for name in row))
    text = io.StringIO()
    table = csv.DictWriter(text, names, restval="", lineterminator="\n")
    table.writeheader()
    table.writerows(rows)
    write_atomic(path, text.getvalue().encode("utf-8", "backslashreplace"))


def results_table(results: Sequence[Result], varied: dict[str, list[Any]]) -> Table:
    """The numbers of many runs, a line each; of several seeds, mean and spread."""
    split = any("heldout_psnr_db" in result.summary for result in results)
    names = ["psnr_db", *(["heldout_psnr_db"] if split else []), "ssim"]
    titles = {"psnr_db": "PSNR dB", "heldout_psnr_db": "held-out dB", "ssim": "SSIM"}
    seeds = len(varied.get("seed", ()))
    table = Table(box=None, padding=(0, 2, 0, 0))
    table.add_column(f"run (mean and spread of {seeds} seeds)" if seeds > 1 else "run")
    for name in names:
        table.add_column(titles[name], justify="right")

    def cell(point: Point, name: str) -> str:
        digits = 4 if name == "ssim" else 2
        mean, spread = point.mean(name), point.spread(name)
        text = "n/a" if math.isnan(mean) else f"{mean:.{digits}f}"
        return text if math.isnan(spread) else f"{text} ± {spread:.{digits}f}"

    single = [Point(result.image, result.point, [result]) for result in results]
    for point in points_of(results) if seeds > 1 else single:
        name = point.results[0].name
        if seeds > 1:
            values = ",".join(f"{k}={v:g}" for k, v in point.point.items())
            name = "/".join(filter(None, (point.image, values))) or "all"
        # A Text, for a file's name may look like markup.
        table.add_row(Text(shown(name)), *(cell(point, name) for name in names))
    return table


def draw_sweep(points: Sequence[Point], varied: dict[str, list[Any]]) -> Any:
    """PSNR against a number that was varied, mean and spread over the seeds.

    The number with the most values is the axis; each combination of the others, each
    image, and trained and held-out pixels have lines of their own.
    """
    from jax_inr.draw import plots
    from jax_inr.draw.settings import as_written

    axis = max(
        (n for n in varied if n != "seed"), key=lambda n: len(varied[n]), default="seed"
    )
    figure = plots.Figure(figsize=(7, 4.2), layout="constrained")
    axes = figure.subplots()
    if axis == "seed":
        points = [
            Point(p.image, {"seed": r.point["seed"]}, [r])
            for p in points
            for r in p.results
        ]
    qualities = {
        "train_psnr_db": ("trained pixels", "-"),
        "heldout_psnr_db": ("held-out pixels", "--"),
    }
    if not any(point.values("heldout_psnr_db") for point in points):
        qualities = {"psnr_db": ("all pixels", "-")}
    curves: dict[str, list[Point]] = {}
    for point in points:
        others = [f"{k}={v:g}" for k, v in point.point.items() if k != axis]
        curves.setdefault(", ".join(filter(None, (point.image, *others))), []).append(
            point
        )
    for number, (name, curve) in enumerate(curves.items()):
        curve.sort(key=lambda point: point.point[axis])
        for quality, (title, style) in qualities.items():
            # The usual pair of colours where there is one curve of each.
            held_out = quality == "heldout_psnr_db"
            colour = plots.RED if held_out else plots.BLUE
            spread = [point.spread(quality) for point in curve]
            axes.errorbar(
                [point.point[axis] for point in curve],
                [point.mean(quality) for point in curve],
                np.nan_to_num(spread) if any(map(math.isfinite, spread)) else None,
                linestyle=style,
                color=colour if len(curves) == 1 else f"C{number % 10}",
                marker="o",
                capsize=3,
                # The title first: a label must not begin with an underscore.
                label=", ".join(filter(None, (title, name))),
            )
    lowest, highest = min(varied[axis]), max(varied[axis])
    if lowest > 0 and highest / lowest >= 8:
        axes.set_xscale("log")
    axes.set_xlabel(axis)
    axes.set_ylabel("PSNR in dB")
    axes.grid(alpha=0.3)
    as_written(*axes.legend(fontsize=9 if len(curves) < 8 else 6).get_texts())
    return figure


def contact_sheet(out: Path, results: Sequence[Result]) -> bytes:
    """A PNG of all reconstructions side by side, each over its name and PSNR."""
    from PIL import Image, ImageDraw, ImageFont

    from jax_inr.io.images import load_image, to_uint8

    tiles = results[:MOST_TILES]
    columns = math.ceil(math.sqrt(len(tiles)))
    cell_width, cell_height = TILE + 8, TILE + 36
    size = columns * cell_width, math.ceil(len(tiles) / columns) * cell_height
    sheet = Image.new("RGB", size, "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(11)
    for number, result in enumerate(tiles):
        left, top = number % columns * cell_width + 4, number // columns * cell_height
        about = result.summary["image"]
        scale = min(TILE / about["height"], TILE / about["width"], 4.0)
        height, width = (
            max(round(about[name] * scale), 1) for name in ("height", "width")
        )
        path = out / result.name / "reconstruction.png"
        try:
            image = load_image(path, size=(height, width), max_pixels=10**9).image
        except ImageError:
            continue  # taken away since
        levels = np.broadcast_to(to_uint8(image), (height, width, 3))
        tile = Image.fromarray(np.ascontiguousarray(levels))
        sheet.paste(tile, (left + (TILE - width) // 2, top + 4 + TILE - height))
        lines = shown(result.name)[-34:], f"{result.summary['psnr_db']:.2f} dB"
        for line, text in enumerate(lines):
            draw.text((left, top + TILE + 7 + 13 * line), text, "black", font)
    data = io.BytesIO()
    sheet.save(data, "PNG")
    return data.getvalue()
