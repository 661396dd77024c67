"""Section choosing: every optimizer and every network, given alone with `default`."""

from typing import Any, get_args

from jax_inr.config import Network, Optimizer
from jax_inr.errors import ConfigError, DivergedError
from jax_inr.experiments.benchmark.options import Options
from jax_inr.experiments.report import Json, Say, Section, silent, table
from jax_inr.presets import preset

SIZE, STEPS = 96, 500
ENOUGH_DB = 25.0
QUICK_STEPS = 20
# As a person asks for them: field and value.
CHOICES = [("optimizer", name) for name in get_args(Optimizer)]
CHOICES += [("network", name) for name in get_args(Network)]


def measure(options: Options, say: Say) -> Json:
    """Every choice alone."""
    steps = QUICK_STEPS if options.quick else STEPS
    runs = []
    for field, name in CHOICES:
        found = ended({field: name, "steps": steps})
        say(f"{field} {name}: {found}")
        runs.append({"field": field, "name": name, **found})
    return {"size": SIZE, "steps": steps, "runs": runs}


def ended(changes: dict[str, Any]) -> Json:
    """How `default` with some fields changed ends on the sample image.

    Returns:
        {"learning_rate", "psnr_db"}, where psnr_db is None if the fit diverged; or
        {"refused"}, the reason and the way out, where the fields do not go together.
    """
    # Imported late: JAX takes a second.
    from jax_inr.fitting import fit
    from jax_inr.io.images import sample_image

    try:
        config = preset("default").replace(eval_every=10**6, **changes)
    except ConfigError as error:
        return {"refused": f"{error}: {error.hint}"}
    found: Json = {"learning_rate": config.learning_rate, "psnr_db": None}
    try:
        fitted = fit(sample_image(size=SIZE), config, on_notice=silent)
    except DivergedError:
        return found
    return found | {"psnr_db": fitted.psnr_db}


def write(measured: Json) -> str:
    """The rate that each choice takes and the PSNR that it ends with."""
    steps = measured["steps"]
    tables = []
    for field in ("optimizer", "network"):
        rows = [(f"`--{field}`", "learning rate", f"PSNR dB after {steps} steps")]
        for run in measured["runs"]:
            if run["field"] == field:
                rows.append((f"`{run['name']}`", *cells(run)))
        tables.append(table(*rows))
    size = measured["size"]
    return "\n\n".join(
        [
            f"The sample image at {size}x{size} pixels, `--preset default` with "
            f"`--steps {steps}` and one option more: an optimizer for the preset's "
            "network, or a network for the preset's optimizer. The learning rate is "
            "the one taken where none is given, at the peak of the schedule; "
            "`summary.json` names it. `sgd` and `mlp` are the preset's own and keep "
            "its rate. Steps of one choice take longer than those of another.",
            *tables,
        ]
    )


def cells(run: Json) -> tuple[str, str]:
    """Learning rate and PSNR of a choice, or why it is refused."""
    if "refused" in run:
        return "–", f"refused: {run['refused']}"
    psnr_db = run["psnr_db"]
    ending = "diverged" if psnr_db is None else f"{psnr_db:.2f}"
    return f"{run['learning_rate']:g}", ending


SECTION = Section("Every optimizer and network, alone", write)
