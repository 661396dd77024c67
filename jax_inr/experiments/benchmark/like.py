"""Section peers: other packages and ours, the same image for the same seconds."""

from typing import Any

from jax_inr.experiments.benchmark.contenders import MISSING, measured_by
from jax_inr.experiments.benchmark.options import QUICK_SECONDS, Options
from jax_inr.experiments.report import Json, Say, Section, table

SECONDS = 30
# Kind, name and options of each; those of our size have about 66,691 parameters.
CONTENDERS: tuple[tuple[str, str, Json], ...] = (
    ("peer", "siren-pytorch", {}),
    ("peer", "siren-pytorch, our size", {}),
    ("peer", "random-fourier-features-pytorch", {}),
    ("peer", "random-fourier-features-pytorch, our size", {}),
    ("peer", "hash grid, our size", {}),
    ("fit", "default", {}),
    ("fit", "fast", {}),
    ("fit", "quality", {}),
)
QUICK = ("siren-pytorch, our size", "hash grid, our size", "fast")


def measure(options: Options, say: Say) -> Json:
    """Each for the same seconds of fitting, in a process of its own."""
    seconds = QUICK_SECONDS if options.quick else SECONDS
    runs: Json = {}
    for kind, name, more in CONTENDERS:
        if options.quick and name not in QUICK:
            continue
        asked: Json = {"budget_seconds": seconds, "evaluations": 4}
        if kind == "peer":
            asked = {"steps": 10**9, "seconds": seconds}
        runs[f"{kind} {name}"] = measured_by(kind, name, asked | more, say)
    return {"seconds": seconds, "runs": runs}


def write(measured: Json) -> str:
    """Parameters, steps and PSNR of each; one that is not there says so."""
    rows: list[tuple[Any, ...]] = [("contender", "parameters", "steps", "PSNR dB")]
    for name, run in measured["runs"].items():
        kind, _, title = name.partition(" ")
        title = f"`{title}`" if kind == "fit" else title
        if run is None:
            rows.append((title, MISSING, "", ""))
            continue
        numbers = f"{run['num_params']:,}", run["steps"], f"{run['psnr_db']:.2f}"
        rows.append((title, *numbers))
    return (
        table(*rows, numbers=True)
        + f"\n\nThe sample image at 224x224 for {measured['seconds']} s of fitting. "
        "siren-pytorch and random-fourier-features-pytorch have the settings of their "
        "READMEs and papers (Adam at 1e-4 and 1e-2); *our size* is the same with about "
        "as many parameters as the notebook's network. The hash grid is a plain torch "
        "form of instant-ngp's (8 levels of 2 features, 7,500 entries, 64 hidden, Adam "
        "at 1e-2). Schedules of our presets end where the seconds do. These are unlike "
        "networks and optimizers: the same network is compared step by step above."
    )


SECTION = Section("Other packages for the same seconds", write)
