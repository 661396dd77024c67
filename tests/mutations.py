"""Faults put into a copy of the sources on purpose, and the parity test that sees each.

A fault is a change of the text of one file. The copy is a whole one and is what its
tests import; nothing is ever changed in place.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from jax_inr.experiments.parity.report import NOT_CAUGHT

ROOT = Path(__file__).parents[1]
COPIED = ("jax_inr", "torch_ref", "tests", "pyproject.toml")
TESTS = "tests/test_parity.py"


class Mutation(NamedTuple):
    """A fault: in `file`, `old` becomes `new`."""

    name: str
    file: str
    old: str
    new: str


MUTATIONS = (
    Mutation(
        "drop the 2 pi",
        "jax_inr/encodings.py",
        "phases = 2 * jnp.pi * turns",
        "phases = turns",
    ),
    Mutation(
        "swap sin and cos in the encoding of JAX",
        "jax_inr/encodings.py",
        "[jnp.sin(phases), jnp.cos(phases)]",
        "[jnp.cos(phases), jnp.sin(phases)]",
    ),
    Mutation(
        "swap sin and cos in the encoding of torch",
        "torch_ref/encodings.py",
        "(torch.sin(phases), torch.cos(phases))",
        "(torch.cos(phases), torch.sin(phases))",
    ),
    Mutation(
        "round the coordinates to bfloat16",
        "jax_inr/encodings.py",
        "jnp.matmul(coords,",
        "jnp.matmul(coords.astype(jnp.bfloat16).astype(jnp.float32),",
    ),
    Mutation(
        "swap rows and columns",
        "jax_inr/coordinates.py",
        'np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)',
        'np.stack(np.meshgrid(*axes, indexing="ij")[::-1], axis=-1)',
    ),
    Mutation(
        "take the pixel's centre for its corner",
        "jax_inr/coordinates.py",
        "(np.arange(height) / height)",
        "((np.arange(height) + 0.5) / height)",
    ),
    Mutation(
        "give the CNN coordinates in place of indices",
        "jax_inr/encodings.py",
        "return x * jnp.array([self.height, self.width], x.dtype)",
        "return x",
    ),
    Mutation(
        "start from biases of zero, as Flax does",
        "jax_inr/modules.py",
        "kernel_init, bias_init = uniform(bound), uniform(torch_bound(fan_in))",
        "kernel_init, bias_init = uniform(bound), nn.initializers.zeros",
    ),
    Mutation(
        "forget the nine taps in the CNN's fan-in",
        "jax_inr/layers.py",
        "uniform(torch_bound(9 * image.shape[-1]))",
        "uniform(torch_bound(image.shape[-1]))",
    ),
    Mutation(
        "divide by 255 in place of 256",
        "jax_inr/tasks/task.py",
        "target = image * np.float32(255 / rgb_max)",
        "target = image * np.float32(255 / 255)",
    ),
    Mutation(
        "average the decibels in the pooled PSNR",
        "jax_inr/lanes.py",
        "psnr_from_mse(position.mse_sum / position.num_rows)",
        'np.mean([*(r["psnr_db"] for r in self.rows), self.psnr_db])',
    ),
    Mutation(
        "forget to transpose the dense kernels",
        "torch_ref/convert.py",
        "leaf = leaf.T[:, :, None, None]",
        "leaf = leaf.reshape(leaf.shape[::-1])[:, :, None, None]",
    ),
    Mutation(
        "swap the rows and columns of the CNN's kernels",
        "torch_ref/convert.py",
        "leaf = leaf.transpose(3, 2, 0, 1)",
        "leaf = leaf.transpose(3, 2, 1, 0)",
    ),
    Mutation(
        "halve the loss",
        "jax_inr/training.py",
        "return jnp.mean(losses)",
        "return 0.5 * jnp.mean(losses)",
    ),
    Mutation(
        "weigh the last, smaller tile of pixels as a whole one",
        "jax_inr/training.py",
        "leaf * (size / count)",
        "leaf * (tile / count)",
    ),
    Mutation(
        "forget the momentum",
        "jax_inr/optimizers.py",
        "optax.sgd(schedule, momentum=self.momentum or None)",
        "optax.sgd(schedule, momentum=None)",
    ),
    Mutation(
        "take Nesterov's momentum",
        "jax_inr/optimizers.py",
        "optax.sgd(schedule, momentum=self.momentum or None)",
        "optax.sgd(schedule, momentum=self.momentum or None, nesterov=True)",
    ),
    Mutation(
        "forget to clear the gradient",
        "torch_ref/training.py",
        "    opt.zero_grad()\n    loss.backward()",
        "    loss.backward()",
    ),
    Mutation(
        "draw B with twice the sigma",
        "jax_inr/encodings.py",
        "return sigma * jax.random.normal",
        "return 2 * sigma * jax.random.normal",
    ),
    Mutation(
        "forget that a field's white is rgb_max",
        "jax_inr/field.py",
        "        if self.rgb_max == 255:\n            return colours\n",
        "        if self.rgb_max:\n            return colours\n",
    ),
)


def mutated(mutation: Mutation, text: str) -> str:
    """A file's text with the fault in it.

    Raises:
        ValueError: what the fault replaces is not there exactly once.
    """
    if (count := text.count(mutation.old)) != 1:
        raise ValueError(
            f"{mutation.name}: {mutation.file} has {mutation.old!r} {count} times, "
            "not once"
        )
    return text.replace(mutation.old, mutation.new)


def first_failures() -> Iterator[tuple[Mutation, str]]:
    """Each fault, and the parity test that first fails with it, or NOT_CAUGHT.

    All are tried in one copy, taken at the start. Raises RuntimeError where the copy
    itself does not pass or the tests end in anything but a verdict, ValueError as
    `mutated`, before any test is run.
    """
    with tempfile.TemporaryDirectory() as name:
        copy = Path(name).resolve()
        for part in COPIED:
            if (ROOT / part).is_dir():
                ignored = shutil.ignore_patterns("__pycache__")
                shutil.copytree(ROOT / part, copy / part, ignore=ignored)
            else:
                shutil.copy(ROOT / part, copy / part)
        texts = {m.file: (copy / m.file).read_text("utf-8") for m in MUTATIONS}
        faults = [mutated(m, texts[m.file]) for m in MUTATIONS]
        _check_imports(copy)
        if (found := _first_failure(copy)) != NOT_CAUGHT:
            raise RuntimeError(f"without any fault, {found} fails")
        for mutation, fault in zip(MUTATIONS, faults, strict=True):
            path = copy / mutation.file
            path.write_text(fault, encoding="utf-8")
            yield mutation, _first_failure(copy)
            path.write_text(texts[mutation.file], encoding="utf-8")


def _first_failure(copy: Path) -> str:
    options = ("-x", "-q", "-n", "0", "-p", "no:cacheprovider")
    done = _python(copy, "-m", "pytest", *options, TESTS)
    if done.returncode == 0:
        return NOT_CAUGHT
    # An error is no verdict: only a failed test counts.
    failed = re.search(rf"^FAILED {TESTS}::(.+?)(?: - |$)", done.stdout, re.M)
    if done.returncode != 1 or failed is None:
        raise RuntimeError(f"the tests ended without a verdict:\n{done.stdout}")
    return failed[1]


def _check_imports(copy: Path) -> None:
    """Raise RuntimeError unless what Python imports there is the copy."""
    program = "import jax_inr, torch_ref; print(jax_inr.__file__, torch_ref.__file__)"
    done = _python(copy, "-c", program)
    expected = [str(copy / name / "__init__.py") for name in ("jax_inr", "torch_ref")]
    if done.stdout.split() != expected:
        raise RuntimeError(f"the copy is not what is imported: {done.stdout}")


def _python(copy: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    # No bytecode: that of a fault must never serve for the source without it.
    changes = {"PYTHONPATH": str(copy), "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=copy,
        env={**os.environ, **changes},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
