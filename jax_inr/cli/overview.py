"""What many runs come to: one summary, and a figure where one number was varied."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jax_inr.cli.sweep import Failure
from jax_inr.io.atomic import write_atomic
from jax_inr.io.text import to_json


def write_overview(
    out: Path,
    summaries: dict[str, dict[str, Any]],
    failures: Sequence[Failure],
    sweep: dict[str, list[Any]],
) -> None:
    """`summary.json` of the whole, and `sweep.png` where one number was varied."""
    failed = {failure.name: str(failure.error) for failure in failures}
    whole = {"runs": summaries, "failed": failed, "sweep": sweep}
    if len(sweep) == 1 and len(summaries) > 1:
        from jax_inr.draw import plots
        from jax_inr.draw.settings import default_settings

        (name,) = sweep
        with default_settings():
            write_atomic(out / "sweep.png", plots.png(draw_sweep(name, summaries)))
    write_atomic(out / "summary.json", (to_json(whole, indent=1) + "\n").encode())


def draw_sweep(name: str, summaries: dict[str, dict[str, Any]]) -> Any:
    """PSNR against the number that was varied: trained and held-out pixels apart."""
    from jax_inr.draw import plots
    from jax_inr.draw.settings import as_written

    figure = plots.Figure(figsize=(7, 4.2), layout="constrained")
    axes = figure.subplots()
    titles = {
        "train_psnr_db": ("trained pixels", plots.BLUE, "-"),
        "heldout_psnr_db": ("held-out pixels", plots.RED, "--"),
    }
    if not any("heldout_psnr_db" in summary for summary in summaries.values()):
        titles = {"psnr_db": ("all pixels", plots.BLUE, "-")}
    curves: dict[str, list[tuple[float, dict[str, Any]]]] = {}
    for run, summary in summaries.items():
        picture, _, point = run.rpartition("/")
        value = float(point.partition("=")[2])
        curves.setdefault(picture, []).append((value, summary))
    for picture, points in curves.items():
        points.sort(key=lambda point: point[0])
        for key, (title, colour, style) in titles.items():
            values = [value for value, _ in points]
            psnr_db = [summary[key] for _, summary in points]
            label = f"{picture}: {title}" if picture else title
            axes.plot(values, psnr_db, style, color=colour, marker="o", label=label)
    lowest = min(value for points in curves.values() for value, _ in points)
    highest = max(value for points in curves.values() for value, _ in points)
    if lowest > 0 and highest / lowest >= 8:
        axes.set_xscale("log")
    axes.set_xlabel(name)
    axes.set_ylabel("PSNR in dB")
    axes.grid(alpha=0.3)
    as_written(*axes.legend(fontsize=9).get_texts())
    return figure
