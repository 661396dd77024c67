"""`jax-inr digits`: digits classified from the weights of their fields."""

import dataclasses
from pathlib import Path

from jax_inr.cli import process
from jax_inr.cli.parsing import check_numbers, parse


@dataclasses.dataclass(frozen=True)
class Options:
    """Fit scikit-learn's digits as two sets of fields; classify both by weights alone.

    One set has a shared start, the other random ones.
    """

    out: Path = Path("runs/digits")
    """Folder of the two sets; what is there is not fitted again."""
    count: int = 1797
    """Digits, from the first."""
    epochs: int = 60
    """Passes of the classifier over its training fields."""
    seeds: int = 3
    """Classifiers of each set; their accuracies are averaged."""
    debug: bool = False
    """Print the traceback of an error."""


def command(argv: list[str]) -> int:
    """Fit and classify; print the table."""
    options = parse(Options, argv, "digits")
    check_numbers(
        ("count", options.count, 50, 1797),
        ("epochs", options.epochs, 1, 10_000),
        ("seeds", options.seeds, 1, 100),
    )
    process.prepare_device("auto")
    from jax_inr import machine

    machine.devices_for_cores()
    from jax_inr.experiments.weights.digits import digits, measure, table

    images, labels = digits(options.count)
    rows = measure(options.out, images, labels, options.epochs, options.seeds)
    process.Output().write(table(rows) + "\n")
    return 0
