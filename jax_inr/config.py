"""What a fit is made of: one frozen dataclass, to and from JSON.

Imports neither JAX nor torch, so that the command line and `torch_ref` can use it
without paying for either.
"""

import dataclasses
import difflib
import json
import math
from typing import Any, Literal, get_args, get_origin

from jax_inr.errors import ConfigError


def _field(default: Any, doc: str, low: float = 0, high: float = math.inf, **kw) -> Any:
    """A config field with its meaning (the help text) and its closed range."""
    metadata = {"low": low, "high": high, "doc": doc, **kw}
    return dataclasses.field(default=default, metadata=metadata)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """Everything that decides the numbers of a fit, and when it stops.

    Values are checked on construction; `ConfigError` names the field and its range.
    """

    preset: str = _field("custom", "Name of the preset this config started from.")

    # Target
    rgb_max: Literal[255, 256] = _field(
        255, "8-bit values are divided by this; 256 is what the notebook does."
    )

    # Encoding
    encoding: Literal["gaussian", "basic", "none"] = _field(
        "gaussian", "Features of a coordinate, arXiv 2006.10739."
    )
    num_frequencies: int = _field(
        128, "Frequencies of the Gaussian encoding.", 1, 65_536
    )
    sigma: float = _field(
        10.0, "Standard deviation of the Gaussian frequencies.", 1e-6, 1e4
    )

    # Network
    network: Literal["mlp", "cnn"] = _field(
        "mlp", "One pixel at a time, or 3x3 convolutions over the whole grid."
    )
    hidden_features: tuple[int, ...] = _field(
        (128, 256), "Widths of the hidden layers.", 1, 65_536
    )

    # Optimizer
    optimizer: Literal["sgd"] = _field("sgd", "How parameters follow the gradient.")
    learning_rate: float = _field(1.0, "Peak learning rate.", 1e-12, 1e6)
    momentum: float = _field(0.9, "Momentum of SGD.", 0.0, 1.0 - 1e-6)
    schedule: Literal["constant", "cosine"] = _field(
        "constant", "Learning rate over the steps; cosine ends at zero."
    )
    warmup_steps: int = _field(0, "Steps of linear warm-up.", 0, 10**9)

    # Training
    steps: int = _field(2000, "Optimizer steps.", 0, 10**9)
    batch_size: int | None = _field(
        None, "Pixels a step, drawn at random; None takes them all.", 1, 2**31 - 1
    )
    seed: int = _field(0, "Seed of frequencies, weights and batches.", 0, 2**32 - 1)
    matmul_precision: Literal["float32", "tf32", "bfloat16"] = _field(
        "float32", "Precision of matrix products; phases are always float32."
    )

    # Watching and stopping
    eval_every: int = _field(100, "Steps between evaluations.", 1, 10**9)
    target_psnr: float | None = _field(
        None, "Stop at the first evaluation with this PSNR in dB.", 0.0, 1000.0
    )
    max_seconds: float | None = _field(
        None, "Stop after this many seconds of fitting.", 1e-3, 1e9
    )

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            _check(field, getattr(self, field.name))
        if self.network == "cnn":
            if self.encoding != "none":
                raise ConfigError(
                    f"network cnn takes pixel indices, not encoding {self.encoding}",
                    "use --encoding none, or --network mlp",
                )
            if self.batch_size:
                raise ConfigError(
                    "network cnn needs the whole grid at every step, "
                    f"but batch_size is {self.batch_size}",
                    "use --batch-size None, or --network mlp",
                )
            if self.matmul_precision == "bfloat16":
                raise ConfigError(
                    "network cnn has no bfloat16 form",
                    "use --matmul-precision float32 or tf32",
                )

    @property
    def num_features(self) -> int:
        """Features of one coordinate under the encoding."""
        sizes = {"gaussian": 2 * self.num_frequencies, "basic": 4, "none": 2}
        return sizes[self.encoding]

    def replace(self, /, **changes: Any) -> "Config":
        """This config with some fields changed; raises ConfigError as construction."""
        known = [field.name for field in dataclasses.fields(self)]
        for name in changes:
            if name not in known:
                near = difflib.get_close_matches(name, known, 1)
                hint = f"did you mean {near[0]}?" if near else "see fit.py --help"
                raise ConfigError(f"unknown config field {name!r}", hint)
        return dataclasses.replace(self, **changes)

    def to_dict(self) -> dict[str, Any]:
        """The fields as JSON types."""
        return json.loads(json.dumps(dataclasses.asdict(self)))

    @classmethod
    def from_dict(cls, fields: Any) -> "Config":
        """The config of `to_dict`; raises ConfigError on an unknown or wrong field."""
        if not isinstance(fields, dict):
            raise ConfigError("a config must be a JSON object of fields")
        fields = {k: tuple(v) if isinstance(v, list) else v for k, v in fields.items()}
        return cls().replace(**fields)


def _check(field: dataclasses.Field, value: Any) -> None:
    kind = field.type
    low, high = field.metadata["low"], field.metadata["high"]
    name = field.name
    if get_origin(kind) is Literal:
        # By identity of type too: True == 1 and 255.0 == 255 are no choices.
        if not any(value == c and type(value) is type(c) for c in get_args(kind)):
            choices = ", ".join(str(choice) for choice in get_args(kind))
            raise ConfigError(f"{name} is {value!r}; it must be one of {choices}")
    elif kind is str:
        if not isinstance(value, str):
            raise ConfigError(f"{name} is {value!r}; it must be text")
    elif get_origin(kind) is tuple:
        if not isinstance(value, tuple) or not 1 <= len(value) <= 64:
            raise ConfigError(f"{name} is {value!r}; it must be 1 to 64 whole numbers")
        for item in value:
            _check_number(name, item, True, low, high)
    elif value is not None or type(None) not in get_args(kind):
        whole = float not in (kind, *get_args(kind))
        _check_number(name, value, whole, low, high)


def _check_number(name: str, value: Any, whole: bool, low: float, high: float) -> None:
    right = isinstance(value, int if whole else int | float)
    if isinstance(value, bool) or not right:
        noun = "whole number" if whole else "number"
        raise ConfigError(f"{name} is {value!r}; it must be a {noun}")
    # Written so that nan fails.
    if not low <= value <= high:
        raise ConfigError(f"{name} is {value}; it must lie in {low:g} to {high:g}")
