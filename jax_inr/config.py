"""What a fit is made of: one frozen dataclass, to and from JSON.

Imports neither JAX nor torch, so that the command line and `torch_ref` can use it
without paying for either.
"""

import dataclasses
import difflib
import json
import math
from collections.abc import Sequence
from typing import Any, Literal

from jax_inr.conflicts import GRIDS as GRIDS
from jax_inr.conflicts import conflicts
from jax_inr.errors import ConfigError
from jax_inr.suits import suited_rate
from jax_inr.values import AUTO, Auto, check, plain


def _field(
    default: Any,
    doc: str,
    low: float = 0,
    high: float = math.inf,
    section: str | None = None,
    **kw: Any,
) -> Any:
    """A config field with its meaning (the help text) and its closed range.

    `section` heads the fields from this one on in the help.
    """
    metadata = {"low": low, "high": high, "doc": doc, "section": section}
    return dataclasses.field(default=default, metadata=metadata, **kw)


Encoding = Literal[
    "gaussian",
    "basic",
    "none",
    "positional",
    "periodic",
    "trainable",
    "dense_grid",
    "hash_grid",
    "pyramid",
]
Network = Literal["mlp", "cnn", "siren", "finer", "gauss", "wire"]
Optimizer = Literal[
    "sgd",
    "adam",
    "muon",
    "lbfgs",
    "adabelief",
    "adamax",
    "adamw",
    "adan",
    "lamb",
    "lion",
    "nadam",
    "radam",
    "rmsprop",
    "yogi",
]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """Everything that decides the numbers of a fit, and when it stops.

    Values are checked on construction; `ConfigError` names the field and its range.
    """

    preset: str = _field(
        "custom",
        "Named config that the other options change: cnn, fourier, optimized, default, "
        "fast or quality.",
        compare=False,
    )

    rgb_max: Literal[255, 256] = _field(
        255,
        "8-bit values are divided by this; 256 is what the notebook does.",
        section="target",
    )

    encoding: Encoding = _field(
        "gaussian", "Features of a coordinate.", section="encoding"
    )
    num_frequencies: int = _field(128, "Frequencies of a Fourier encoding.", 1, 65_536)
    sigma: float | Auto = _field(
        10.0,
        "Standard deviation of the frequencies drawn, in cycles; auto: by the image.",
        1e-6,
        1e4,
    )
    octaves: float = _field(
        6.0, "Positional frequencies go up to 2**octaves - 1 cycles.", 1e-3, 30.0
    )
    num_levels: int = _field(4, "Levels of a grid encoding.", 1, 32)
    level_features: int = _field(2, "Features of a grid's vertex, at most.", 1, 64)
    coarsest: int = _field(16, "Cells per axis of the coarsest level.", 1, 65_536)
    finest: int = _field(128, "Cells of the finest level's longer side.", 1, 65_536)
    log2_table_size: int = _field(
        14, "A level of the hash grid holds at most 2**this vertices.", 1, 28
    )

    network: Network = _field(
        "mlp",
        "One pixel at a time; cnn: 3x3 convolutions over the whole grid.",
        section="network",
    )
    activation: Literal["relu", "gelu"] = _field("relu", "Of the hidden layers of mlp.")
    omega_0: float | Auto = _field(
        30.0,
        "Frequency of the periodic activations of siren, finer and wire; auto: by the "
        "image.",
        1e-3,
        1e4,
    )
    scale_0: float = _field(
        10.0, "Inverse width of the Gaussian activations of gauss and wire.", 1e-3, 1e4
    )
    hidden_features: tuple[int, ...] = _field(
        (128, 256), "Widths of the hidden layers.", 1, 65_536
    )
    init: Literal["uniform", "glorot"] = _field(
        "uniform",
        "First weights of mlp: uniform as torch draws them, or Glorot normal with "
        "small biases as JAX's stax does.",
    )

    optimizer: Optimizer = _field(
        "sgd", "How parameters follow the gradient.", section="optimizer"
    )
    # None, which asks for the suited rate, is a float once the config is made.
    learning_rate: float = _field(
        None,
        "Peak learning rate; another optimizer or network brings its own.",
        1e-12,
        1e6,
    )
    momentum: float = _field(0.9, "Momentum of sgd and muon.", 0.0, 1.0 - 1e-6)
    beta2: float = _field(
        0.999, "Decay of the squared gradients of adam, and of muon's.", 0.0, 1.0 - 1e-9
    )
    schedule: Literal["constant", "cosine"] = _field(
        "constant", "Learning rate over the steps; cosine ends at zero."
    )
    warmup_steps: int = _field(0, "Steps of linear warm-up.", 0, 10**9)

    train_pixels: Literal["all", "alternate", "random"] = _field(
        "all",
        "Pixels to train on; alternate: even rows and columns. The others are held "
        "out, and measured apart.",
        section="training",
    )
    train_fraction: float = _field(
        0.5, "Share of the pixels that train_pixels random trains on.", 1e-6, 1.0
    )
    steps: int = _field(2000, "Optimizer steps.", 0, 10**9)
    batch_size: int | None = _field(
        None, "Pixels a step, drawn at random; None takes them all.", 1, 2**31 - 1
    )
    sampling: Literal["pixels", "lattice"] = _field(
        "pixels", "A mini-batch: single pixels, or the grid points of rows and columns."
    )
    seed: int = _field(0, "Seed of frequencies, weights and batches.", 0, 2**32 - 1)
    matmul_precision: Literal["float32", "tf32", "bfloat16"] = _field(
        "float32", "Precision of matrix products; phases are always float32."
    )

    eval_every: int = _field(
        100, "Steps between evaluations.", 1, 10**9, section="stopping"
    )
    target_psnr: float | None = _field(
        None, "Stop at the first evaluation with this PSNR in dB.", 0.0, 1000.0
    )
    max_seconds: float | None = _field(
        None, "Stop after this many seconds of fitting.", 1e-3, 1e9
    )

    def __post_init__(self) -> None:
        if self.learning_rate is None:
            rate = suited_rate(self.optimizer, self.network)
            object.__setattr__(self, "learning_rate", rate)
        problems = []
        for field in dataclasses.fields(self):
            value = plain(field, getattr(self, field.name))
            object.__setattr__(self, field.name, value)
            try:
                check(field, getattr(self, field.name))
            except ConfigError as error:
                problems.append((str(error), error.hint))
        # Values out of their range would only be in conflict for that.
        refuse(problems)
        refuse(
            [(message, hint) for is_wrong, message, hint in conflicts(self) if is_wrong]
        )

    def replace(self, /, **changes: Any) -> "Config":
        """This config with some fields changed; raises ConfigError as construction.

        A learning rate belongs to the optimizer and the network that it drives: where
        either changes and no rate is given, it becomes what suits them; likewise the
        first weights of another network, and the schedule of L-BFGS.
        """
        known = [field.name for field in dataclasses.fields(self)]
        for name in changes:
            if name not in known:
                near = difflib.get_close_matches(name, known, 1)
                hint = (
                    f"did you mean {near[0]}?"
                    if near
                    else "the fields are those of jax_inr.Config"
                )
                raise ConfigError(f"unknown config field {name!r}", hint)
        return dataclasses.replace(self, **self._suited(changes), **changes)

    def _suited(self, changes: dict[str, Any]) -> dict[str, Any]:
        """The fields that follow a change of optimizer or network."""
        optimizer = changes.get("optimizer", self.optimizer)
        network = changes.get("network", self.network)
        suited: dict[str, Any] = {}
        if (optimizer, network) != (self.optimizer, self.network):
            suited["learning_rate"] = None
        if network not in (self.network, "mlp"):
            suited["init"] = "uniform"
        if optimizer == "lbfgs" != self.optimizer:
            suited |= {"schedule": "constant", "warmup_steps": 0}
        return {name: suited[name] for name in suited if name not in changes}

    def number(self, name: str) -> float:
        """A field's number, where one is needed; raises ConfigError for `auto`."""
        value = getattr(self, name)
        if value == AUTO:
            raise ConfigError(
                f"{name} is auto, and is found for an image alone",
                f"give {name} as a number, or an image to fit",
            )
        return value

    def to_dict(self) -> dict[str, Any]:
        """The fields as JSON types."""
        return json.loads(json.dumps(dataclasses.asdict(self)))

    @classmethod
    def from_dict(cls, fields: Any) -> "Config":
        """The config of `to_dict`; raises ConfigError on an unknown or wrong field."""
        if not isinstance(fields, dict):
            raise ConfigError("a config must be a JSON object of fields")
        return cls().replace(**fields)


def refuse(problems: Sequence[tuple[str, str]]) -> None:
    """Raise one ConfigError that tells all problems, each a message and its hint."""
    if problems:
        messages, hints = (
            dict.fromkeys(filter(None, x)) for x in zip(*problems, strict=True)
        )
        raise ConfigError("; ".join(messages), "; ".join(hints))
