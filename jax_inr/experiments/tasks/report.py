"""docs/tasks.md: tables and figures from the kept numbers alone."""

import io
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image

from jax_inr.draw import plots
from jax_inr.draw.settings import Figure, default_settings
from jax_inr.experiments.report import MAX_REPORT_BYTES
from jax_inr.experiments.tasks.problems import KINDS
from jax_inr.io.atomic import write_atomic
from jax_inr.io.images import load_image
from jax_inr.io.reading import read_json

Json = dict[str, Any]
OURS = ("field", "ensemble")


def paired(first: Sequence[float], second: Sequence[float]) -> tuple[float, ...]:
    """Mean difference of pairs, and its 95 % interval by Student's t.

    The interval is infinite for a single pair.
    """
    # Imported late: scipy takes time.
    from scipy.stats import ttest_rel

    differences = np.subtract(first, second)
    mean = float(differences.mean())
    if len(differences) < 2:
        return mean, -math.inf, math.inf
    if not differences.std():
        return mean, mean, mean
    interval = ttest_rel(first, second).confidence_interval(0.95)
    return mean, float(interval.low), float(interval.high)


def psnrs(row: Json, images: Sequence[str]) -> dict[str, float]:
    """PSNR by image, of some of the images."""
    found = {r["image"]: float(r["psnr_db"]) for r in row["records"]}
    return {image: found[image] for image in images if image in found}


def markdown(summary: Json, about: Json) -> str:
    """The section of a kind of problem."""
    kind, rows = summary["kind"], summary["rows"]
    lines = [f"## {kind}", "", f"{KINDS[kind].capitalize()}. `{about['command']}`", ""]
    judged, beside = summary["judged_on"], summary["beside"]
    lines += [
        f"Tuned on {', '.join(summary['tuned_on'])}; judged on {', '.join(judged)}; "
        f"beside them {', '.join(beside)}. {about['machine']}.",
        "",
    ]
    has_oracle = any("oracle_psnr_db" in r for m in rows.values() for r in m["records"])
    head = ["", "parameter", "PSNR dB", "SSIM", "seconds"]
    head += ["oracle PSNR dB"] if has_oracle else []
    body = []
    for name, row in rows.items():
        records = [r for r in row["records"] if r["image"] in judged]
        cells = [name, chosen(row)]
        cells += [
            number([float(r["psnr_db"]) for r in records], 2),
            number([r["ssim"] for r in records], 4),
            number([r["seconds"] for r in records], 2),
        ]
        if has_oracle:
            oracle = [r.get("oracle_psnr_db", math.nan) for r in records]
            cells.append(number(oracle, 2))
        body.append(cells)
    lines += [*table(head, body), ""]
    pairs = difference_rows(rows, judged)
    if pairs:
        lines += ["Image by image, with the 95 % interval of the mean difference:", ""]
        lines += [*table(["", "dB", "interval", "wins"], pairs), ""]
    lines += [
        "PSNR of each image:",
        "",
        *table(
            ["", *judged, *beside],
            [
                [name, *(number([v], 2) for v in psnrs(row, judged + beside).values())]
                for name, row in rows.items()
            ],
        ),
        "",
        f"![{kind}: {summary['judged_on'][0]}](images/tasks-{kind}.jpg)",
        "",
    ]
    return "\n".join(lines)


def chosen(row: Json) -> str:
    """A row's parameter; of a number, whether it is at the edge of those tried."""
    parameter, tried = row["parameter"], [*row["tried_db"]]
    if parameter == "None":
        return ""
    try:
        float(parameter)
    except ValueError:
        return f"`{parameter}`"
    edge = (
        {tried[0]: ", the least tried", tried[-1]: ", the most tried"} if tried else {}
    )
    return f"`{parameter}`{edge.get(parameter, '')}"


def number(values: Sequence[float], digits: int) -> str:
    """The mean of values; a dash where there is none."""
    mean = float(np.mean(values))
    return "–" if math.isnan(mean) else f"{mean:.{digits}f}"


def difference_rows(rows: Json, judged: Sequence[str]) -> list[list[str]]:
    """Our rows against each other one; without them the best against the rest."""
    of = {name: psnrs(row, judged) for name, row in rows.items()}
    ours = [name for name in rows if name in OURS]
    if not ours:
        ours = [max(rows, key=lambda name: np.mean(list(of[name].values())))]
    lines = []
    for first in ours:
        for second in rows:
            if second == first or (second in OURS and first == OURS[0]):
                continue
            a, b = of[first], of[second]
            both = [image for image in a if image in b]
            left, right = [a[i] for i in both], [b[i] for i in both]
            if not np.isfinite([*left, *right]).all():
                continue
            mean, low, high = paired(left, right)
            interval = "–" if math.isinf(low) else f"{low:+.2f} to {high:+.2f}"
            wins = sum(x > y for x, y in zip(left, right, strict=True))
            cells = [f"{first} - {second}", f"{mean:+.2f}", interval]
            lines.append([*cells, f"{wins} of {len(both)}"])
    return lines


def table(head: Sequence[str], body: Sequence[Sequence[str]]) -> list[str]:
    """A Markdown table, numbers flush right."""
    rule = ["---", *["---:"] * (len(head) - 1)]
    return [f"| {' | '.join(cells)} |" for cells in (head, rule, *body)]


@default_settings()
def gallery(summary: Json, images: Path) -> Any:
    """The first judged image: measured, restored by every row, the truth."""
    kind = summary["kind"]
    names = ["measured", *summary["rows"], "truth"]
    paths = [images / f"tasks-{kind}-{name}.png" for name in names]
    found = [(n, p) for n, p in zip(names, paths, strict=True) if p.exists()]
    figure = Figure(figsize=(2.6 * len(found), 2.9))
    figure.subplots_adjust(0.005, 0.005, 0.995, 0.9, 0.03)
    axes = figure.subplots(1, len(found), squeeze=False)[0]
    for panel, (name, path) in zip(axes, found, strict=True):
        plots.show(panel, load_image(path).image)
        row = summary["rows"].get(name)
        title = name if row is None else f"{name} {row['records'][0]['psnr_db']:.2f}"
        panel.set_title(title, fontsize=9, pad=3)
    return figure


def jpeg(png: bytes) -> bytes:
    """A figure of photographs at a fifth of a PNG's size."""
    buffer = io.BytesIO()
    PIL.Image.open(io.BytesIO(png)).convert("RGB").save(buffer, "JPEG", quality=88)
    return buffer.getvalue()


def write(out: Path) -> Path:
    """OUT/tasks.md and its figures from every OUT/tasks-KIND.json; its path."""
    lines = ["# Restoration", "", HEADING, ""]
    for kind in KINDS:
        path = out / f"tasks-{kind}.json"
        if not path.exists():
            continue
        kept = read_json(path, most=MAX_REPORT_BYTES)
        if "summary" not in kept:
            continue
        summary = kept["summary"]
        for row in summary["rows"].values():
            for record in row["records"]:
                record["psnr_db"] = float(record["psnr_db"])
        lines.append(markdown(summary, kept["about"]))
        figure = gallery(summary, out / "images")
        path = out / "images" / f"tasks-{kind}.jpg"
        write_atomic(path, jpeg(plots.png(figure, dpi=70)))
    target = out / "tasks.md"
    write_atomic(target, "\n".join(lines).encode())
    return target


HEADING = (
    "What is measured of each image follows a seed. The images take turns in the order "
    "of their names: the first tunes, the second is judged. Each classical method's "
    "parameter is the one of the best mean PSNR on the images to tune by. *field* is "
    "one field with the settings of `jax_inr.priors`, *ensemble* the mean of two of "
    "other seeds; the settings were found on the images to tune by. Both train "
    "to the last step: no method sees the truth. *oracle* is the best of the "
    "same fits after each eighth of their steps, chosen by the truth: what stopping by "
    "it would have given. PSNR and SSIM are means over the judged photographs, of "
    "colours clipped to [0, 1]; of tomography, over the circle that the rays cover; of "
    "gradients and Laplacians, up to the constant that they leave open. A text, a "
    "phantom or the sample cat stands beside the photographs and in no mean. Seconds "
    "are of a machine that others used too."
)
