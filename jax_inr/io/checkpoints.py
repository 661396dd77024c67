"""The checkpoints of a run: the newest, and beside it the last that is known good.

Imports neither JAX nor torch.
"""

from pathlib import Path
from typing import Any

from jax_inr.errors import CheckpointError
from jax_inr.io import atomic
from jax_inr.io.atomic import output_errors
from jax_inr.io.reading import refuse_link
from jax_inr.io.tensorfile import (
    Tensors,
    check_field_finite,
    load_tensors,
    save_tensors,
)
from jax_inr.io.text import shown

# Bad checkpoints that are named each; of more there is the number.
MOST_NAMED = 3


class Checkpoints:
    """The folder of a run's checkpoints, a file a step; its run holds the lock."""

    def __init__(self, path: Path) -> None:
        """Touches nothing."""
        self.path = path
        self._good: Path | None = None  # the last checkpoint saved or loaded

    def paths(self) -> list[Path]:
        """Paths of the checkpoints, oldest step first."""
        found = self.path.glob("step_*.safetensors")
        paths = [path for path in found if path.stem[5:].isdecimal()]
        return sorted(paths, key=lambda path: int(path.stem[5:]))

    def save(self, step: int, tensors: Tensors, header: dict, *, log: Path) -> None:
        """Save a checkpoint, then remove all but it and the last good one.

        log: the run's metrics, which reach the disk first.
        """
        path = self.path / f"step_{step:09d}.safetensors"
        with output_errors(path):
            # Whatever the power does, the log must not be behind the checkpoint.
            if log.exists():
                atomic.sync(log)
            header = {**header, "step": step}
            save_tensors(path, "checkpoint", tensors, header)
            atomic.sync(self.path.parent)
            # A step saved again (a resumed run, stopped at once) ages nothing.
            before = self.paths() if path != self._good else []
            for old in before:
                if old not in (path, self._good):
                    with output_errors(old):
                        old.unlink()
        self._good = path

    def load(self) -> tuple[Tensors, dict[str, Any], list[str]] | None:
        """Read (tensors, header, notices) of the newest good one; None without any.

        Raises:
            CheckpointError: there are checkpoints and none is good; it says why.
        """
        refuse_link(self.path, CheckpointError)
        bad: list[str] = []
        paths = self.paths()
        for path in reversed(paths):
            try:
                tensors, header = load_tensors(
                    path, "checkpoint", follow=False, allow_nonfinite=True
                )
                check_field_finite(path, tensors)
            except CheckpointError as error:
                bad.append(str(error))
                continue
            self._good = path
            return tensors, header, [f"{each}; using {path.name}" for each in _few(bad)]
        if not paths:
            return None
        raise CheckpointError(
            f"no good checkpoint in {shown(self.path.parent)}: {'; '.join(_few(bad))}",
            "begin again with overwrite=True",
        )


def _few(problems: list[str]) -> list[str]:
    """The first of many problems, and how many more there are."""
    more = len(problems) - MOST_NAMED
    return problems[:MOST_NAMED] + ([f"{more} more are bad"] if more > 0 else [])
