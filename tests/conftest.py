"""Shared by all tests: run-time shape checks, small images, the command."""

import contextlib
import dataclasses
import functools
import os
import pkgutil
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from jaxtyping import install_import_hook

ROOT = Path(__file__).parents[1]

# A process begun in the background ignores interrupts; these tests send some.
for number in (signal.SIGINT, signal.SIGHUP):
    if signal.getsignal(number) == signal.SIG_IGN:
        default = signal.default_int_handler if number == signal.SIGINT else None
        signal.signal(number, default or signal.SIG_DFL)

# Nothing is kept outside a test's own folder.
os.environ["JAX_ENABLE_COMPILATION_CACHE"] = "false"

# Annotations are checked here, and in tests only: of both packages whole, but for
# commands, fits, experiments and files, whose tests give what is wrong, and the config,
# which checks its fields. The hook has to be in place before anything imports these.
UNCHECKED = {"cli", "config", "experiments", "fitting", "io", "suits"}
CHECKED = {module.name for module in pkgutil.iter_modules([str(ROOT / "jax_inr")])}
CHECKED = [f"jax_inr.{name}" for name in sorted(CHECKED - UNCHECKED)]
# An int is a float, as PEP 484 has it.
TYPECHECKER = "beartype.beartype(conf=beartype.BeartypeConf(is_pep484_tower=True))"
install_import_hook([*CHECKED, "torch_ref"], TYPECHECKER)

import hypothesis  # noqa: E402
import jax  # noqa: E402
import jax.monitoring  # noqa: E402

# A fit imports it in a thread, and CPython 3.11 cannot parse, as the hook does, in two.
import jax_inr.draw.plots  # noqa: E402, F401
from jax_inr.errors import ImageError  # noqa: E402
from jax_inr.io.images import load_image  # noqa: E402
from jax_inr.job import make_job  # noqa: E402
from jax_inr.plan import make_data  # noqa: E402
from jax_inr.tasks import reconstruct  # noqa: E402
from jax_inr.training import init_state  # noqa: E402

# No test asserts a time, those of hypothesis neither.
hypothesis.settings.register_profile("untimed", deadline=None)
hypothesis.settings.load_profile("untimed")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    """Mark as slow the cases that `slow_cases` of their test names."""
    for item in items:
        names = {name for mark in item.iter_markers("slow_cases") for name in mark.args}
        if names and item.callspec.id in names:
            item.add_marker(pytest.mark.slow)


@pytest.fixture
def key() -> jax.Array:
    return jax.random.key(7)


@pytest.fixture
def image() -> np.ndarray:
    """A small colour image (12, 17, 3): smooth, with an edge; not square."""
    rows, columns = np.mgrid[0:12, 0:17]
    red = 0.5 + 0.4 * np.sin(rows / 3)
    green = columns / 17
    blue = np.where(rows + columns > 14, 0.9, 0.1)
    return np.stack([red, green, blue], -1).astype(np.float32)


@pytest.fixture
def load(tmp_path):
    """The Image of some bytes."""

    def call(data: bytes):
        (tmp_path / "image").write_bytes(data)
        return load_image(tmp_path / "image")

    return call


@pytest.fixture
def refused(load):
    """The message that refuses some bytes."""

    def call(data: bytes) -> str:
        with pytest.raises(ImageError) as caught:
            load(data)
        message = str(caught.value)
        assert message.isprintable()
        assert caught.value.hint
        return message

    return call


@functools.cache
def draw(model, seed: int = 7):
    """`model.init`, compiled unoptimised: random bits then cost a third of the time."""
    options = {"xla_backend_optimization_level": 0}
    return jax.jit(model.init, compiler_options=options)(jax.random.key(seed))


def start(config, target, seed: int = 0, **changes):
    """Plan, state, constants, data and key of a fit before its first step.

    changes: of the plan.
    """
    job = make_job(reconstruct(target), config)
    plan = dataclasses.replace(job.plan(), **changes)
    variables = draw(job.model, seed)
    data = make_data(plan, job.task, variables, job.rates)
    key = jax.random.key(seed + 100)
    return plan, init_state(plan, variables), variables["constants"], data, key


@contextlib.contextmanager
def compilations():
    """Counts what XLA compiles while open, in a list of one."""
    count = [0]

    def listen(event: str, duration_secs: float, **kwargs: str | int):
        count[0] += event == "/jax/core/compile/backend_compile_duration"

    jax.monitoring.register_event_duration_secs_listener(listen)
    try:
        yield count
    finally:
        jax.monitoring.unregister_event_duration_listener(listen)


@pytest.fixture
def fit_py():
    """The real command in a process of its own: `fit_py("--steps", "2", cwd=…)`."""

    def call(*arguments: object, **kwargs) -> subprocess.CompletedProcess[str]:
        return run_script("fit.py", *arguments, **kwargs)

    return call


def run_script(
    name: str,
    *arguments: object,
    cwd: Path,
    env: dict[str, str] | None = None,
    **kwargs,
) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "scripts" / name), *map(str, arguments)]
    environment = {**os.environ, "PYTHONUTF8": "1", **(env or {})}
    return subprocess.run(
        command,
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
        **kwargs,
    )


def said(result, code: int) -> str:
    """The one line of an error, checked to be one."""
    assert result.returncode == code, result.stderr
    assert "Traceback" not in result.stderr
    lines = result.stderr.splitlines()
    assert len(lines) == 1 and lines[0].startswith("error: "), result.stderr
    return lines[0]


BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
BROWSER_ARGUMENTS = (
    *("--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"),
    # Nobody is asked for anything.
    *("--disable-quic", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync"),
)


@pytest.fixture(scope="session")
def browser():
    """A Chromium that draws in software; tests that need one skip where none is."""
    playwright = pytest.importorskip("playwright.sync_api", reason="no Playwright")
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None:
        pytest.skip("no Chromium; apt-get install chromium")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(
            executable_path=found, args=[*BROWSER_ARGUMENTS]
        )
        yield browser
        browser.close()
