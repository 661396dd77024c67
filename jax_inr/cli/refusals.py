"""Refusals of `fit`: numbers out of range, and options that would have no effect."""

import dataclasses

from jax_inr.cli.options import RunOptions
from jax_inr.cli.parsing import check_numbers
from jax_inr.config import GRIDS, Config, refuse
from jax_inr.conflicts import DRAWN, RESUMABLE_FIELDS, WAVES

Problem = tuple[str, str]  # the message, and the way out

RUN_OWN = (
    "image",
    "sweep",
    "size",
    "out",
    "config",
    "overwrite",
    "max_pixels",
    "num_params",
)

# The choice that a field belongs to: under any other it would change nothing.
BELONGS = {
    "num_frequencies": ("encoding", ("positional", *DRAWN)),
    "sigma": ("encoding", DRAWN),
    "octaves": ("encoding", ("positional",)),
    "num_levels": ("encoding", GRIDS),
    "level_features": ("encoding", GRIDS),
    "coarsest": ("encoding", GRIDS[:2]),
    "finest": ("encoding", GRIDS),
    "log2_table_size": ("encoding", ("hash_grid",)),
    "activation": ("network", ("mlp",)),
    "omega_0": ("network", WAVES),
    "scale_0": ("network", ("gauss", "wire")),
    "momentum": ("optimizer", ("sgd", "muon")),
    "beta2": ("optimizer", ("adam", "muon")),
    "train_fraction": ("train_pixels", ("random",)),
}


def check(options: RunOptions, config: Config, base: Config) -> None:
    """Raise one ConfigError of all that is wrong; `base` is what the defaults were."""
    check_numbers(
        # The library takes 0 steps, which leaves the network as it was drawn.
        ("steps", config.steps, 1, 10**9),
        ("checkpoint_seconds", options.checkpoint_seconds, 0, 1e9),
        ("max_pixels", options.max_pixels, 1, 10**9),
        ("max_memory", options.max_memory, 1e-3, 1e6),
    )
    problems: list[Problem] = []
    fields = [field.name for field in dataclasses.fields(Config)]
    changed = [n for n in fields if getattr(config, n) != getattr(base, n)]
    if options.resume is not None:
        problems += _resumed(options, config, base, changed)
    elif not options.image and _given(options, ("max_pixels",)):
        problems.append(
            ("--max-pixels is of images, and none is named", "leave it out")
        )
    if options.backend == "torch" and (len(options.image) > 1 or options.sweep):
        hint = "leave it out, or give one image and no --sweep"
        problems.append(("--backend torch goes with one fit at a time", hint))
    varied = [word.partition("=")[0].replace("-", "_") for word in options.sweep]
    refuse(problems + _idle(config, [*changed, *varied]))


def _resumed(
    options: RunOptions, config: Config, base: Config, changed: list[str]
) -> list[Problem]:
    """What a run that goes on has of its own and cannot change."""
    problems: list[Problem] = []
    if names := _given(options, RUN_OWN):
        own = f"--resume cannot go with {', '.join(names)}: the run keeps its own"
        problems.append((own, "leave it out, or begin a new run"))
    other = [
        f"{n} was {getattr(base, n)} in this run and cannot become {getattr(config, n)}"
        for n in changed
        if n not in RESUMABLE_FIELDS
    ]
    if other:
        hint = f"a resumed run may change {', '.join(RESUMABLE_FIELDS)}"
        problems.append(("; ".join(other), hint))
    return problems


def _idle(config: Config, names: list[str]) -> list[Problem]:
    """The fields, of those named, that would change nothing."""
    problems: list[Problem] = []
    for name in dict.fromkeys(names):
        choice, known = BELONGS.get(name, ("", ()))
        if choice and getattr(config, choice) not in known:
            now = f"{_flag(choice)} {getattr(config, choice)}"
            hint = f"leave it out, or use {_flag(choice)} {' or '.join(known)}"
            problems.append((f"{_flag(name)} changes nothing under {now}", hint))
    return problems


def _given(options: RunOptions, names: tuple[str, ...]) -> list[str]:
    usual = RunOptions()
    return [n for n in names if getattr(options, n) != getattr(usual, n)]


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"
