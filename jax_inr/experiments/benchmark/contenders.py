"""Who is timed by the benchmark: steps in turns, and whole fits.

A contender of steps prepares everything and returns `run(repeats)`, which gives the
seconds of one repeat. A fit gives its evaluations, (seconds, psnr_db), and how long it
took to get ready. Each contender runs in a process of its own:
`python -m jax_inr.experiments.benchmark.contenders`.
"""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from jax_inr import machine
from jax_inr.config import Config
from jax_inr.experiments.benchmark import peers
from jax_inr.experiments.report import Json, Say, silent
from jax_inr.presets import preset

Run = Callable[[int], float]
PRODUCT_SIDE = 2048  # of the square matrix product that measures the machine
MISSING = "missing here"
PROGRAM = [sys.executable, "-m", "jax_inr.experiments.benchmark.contenders"]


# Contenders of steps


def product() -> Run:
    """The machine's own float32 matrix product, by XLA: seconds per GFLOP."""
    import jax

    matrix = jax.random.normal(jax.random.key(0), (PRODUCT_SIDE, PRODUCT_SIDE))
    multiply = jax.jit(lambda a: a @ a)
    jax.block_until_ready(multiply(matrix))

    def run(repeats: int) -> float:
        start = time.perf_counter()
        for _ in range(repeats):
            jax.block_until_ready(multiply(matrix))
        seconds = (time.perf_counter() - start) / repeats
        return seconds / product_gflop(PRODUCT_SIDE)

    return run


def product_gflop(side: int) -> float:
    """Arithmetic of a product of square matrices: a multiplication and an addition."""
    return 2 * side**3 / 1e9


def trainer_steps(backend: str, name: str, precision: str = "float32") -> Run:
    """Training steps of a preset on the sample image, in one of the back ends."""
    from jax_inr.io.images import sample_image

    config = preset(name).replace(matmul_precision=precision)
    image = sample_image(size=224).image
    if backend == "torch":
        from jax_inr.torch_lane import make_trainer

        target = image * np.float32(255 / config.rgb_max)
        trainer: Any = make_trainer(config, target, "auto")
    else:
        from jax_inr import tasks
        from jax_inr.job import make_job
        from jax_inr.trainer import JaxTrainer

        task = tasks.from_config(config, image)
        trainer = JaxTrainer([make_job(task, config)])
    trainer.compile()

    def run(repeats: int) -> float:
        start = time.perf_counter()
        trainer.advance(repeats, [True])
        return (time.perf_counter() - start) / repeats

    return run


CONTENDERS: dict[str, tuple[Callable[..., Run], tuple[Any, ...], int]] = {
    # name: maker, its arguments, repeats in a turn
    "product": (product, (), 40),
    "optimized, jax": (trainer_steps, ("jax", "optimized"), 8),
    "optimized, torch": (trainer_steps, ("torch", "optimized"), 4),
    "optimized, torch Linear": (peers.torch_linear, (False,), 4),
    "optimized, torch.compile": (peers.torch_linear, (True,), 4),
    "cnn, jax": (trainer_steps, ("jax", "cnn"), 1),
    "cnn, torch": (trainer_steps, ("torch", "cnn"), 1),
    # Named modes, for a GPU.
    "optimized, jax tf32": (trainer_steps, ("jax", "optimized", "tf32"), 8),
    "optimized, jax bfloat16": (trainer_steps, ("jax", "optimized", "bfloat16"), 8),
}


def serve(name: str) -> None:
    """Be a contender: prepare, warm up, then time a turn for each line of stdin."""
    maker, arguments, repeats = CONTENDERS[name]
    run = maker(*arguments)
    run(1)
    print("ready", flush=True)
    for _ in sys.stdin:
        print(json.dumps(run(repeats)), flush=True)


def alternate(names: Sequence[str], turns: int) -> dict[str, list[float]]:
    """Seconds of every turn of each contender, A B C A B C …; absent ones are left out.

    Contenders that wait are blocked on their input, so none disturbs another.
    """
    workers: dict[str, subprocess.Popen[str]] = {}
    times: dict[str, list[float]] = {}
    try:
        for name in names:
            worker = subprocess.Popen(
                [*PROGRAM, "steps", name],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
            )
            workers[name] = worker
            assert worker.stdout is not None
            if worker.stdout.readline().strip() == "ready":
                times[name] = []
        for _ in range(turns):
            for name in times:
                worker = workers[name]
                assert worker.stdin is not None and worker.stdout is not None
                print("go", file=worker.stdin, flush=True)
                times[name].append(float(worker.stdout.readline()))
    finally:
        for worker in workers.values():
            worker.kill()
            worker.communicate()
    return times


# Whole fits


def measured_by(
    kind: str, name: str, options: Json, say: Say, program: Sequence[str] = ()
) -> Json | None:
    """What a fit in a process of its own measures, None where it cannot run.

    Args:
        kind: of `FITS`; `name` and `options` are its arguments.
        program: another command that takes the three.
    """
    words = [*(program or PROGRAM), kind, name, json.dumps(options)]
    result = subprocess.run(words, capture_output=True, text=True, check=False)
    if result.returncode:
        last = (result.stderr.strip().splitlines() or ["no reason given"])[-1]
        say(f"{kind} {name} is {MISSING}: {last}")
        return None
    measured = json.loads(result.stdout.splitlines()[-1])
    say(f"{kind} {name}: {json.dumps(measured)[-90:]}")
    return measured


def fit_preset(name: str, options: Json) -> Json:
    """A preset's whole fit of the sample image, in one of the back ends.

    Options: backend, image (a path; left out, the sample), changes (of config fields),
    budget_seconds, evaluations. With a budget, the steps and the evaluations between
    them are as many as fit into it at the rate of a first short run.
    """
    from jax_inr.io.images import load_image, sample_image

    backend, path = options.get("backend", "jax"), options.get("image")
    image = load_image(path) if path else sample_image(size=224)
    config = preset(name).replace(**options.get("changes", {}))
    if budget := options.get("budget_seconds"):
        trial = config.replace(steps=60, warmup_steps=0, eval_every=10**6)
        rows = _fit(image, trial, backend).rows
        config = within_budget(config, rows, budget, options.get("evaluations", 20))
    found = _fit(image, config, backend)
    return {
        "rows": [[row["seconds"], row["psnr_db"]] for row in found.rows],
        "psnr_db": found.summary["psnr_db"],
        "steps": found.summary["steps"],
        "num_params": found.summary["num_params"],
        "ready_seconds": found.summary["seconds"]["compile"],
        "fit_seconds": found.summary["seconds"]["fit"],
    }


def within_budget(
    config: Config, trial_rows: Sequence[Json], budget_seconds: float, evaluations: int
) -> Config:
    """The config with as many steps as fit into a budget of seconds.

    Args:
        trial_rows: the first and the last evaluation of a short run, each with `step`
            and `seconds`; the first is of one step and one evaluation.
        evaluations: how many the longer run is to have, at most half of the budget.
    """
    first, last = trial_rows[0], trial_rows[-1]
    step_seconds = (last["seconds"] - first["seconds"]) / (last["step"] - first["step"])
    left = 0.97 * budget_seconds - evaluations * first["seconds"]
    steps = max(int(max(left, budget_seconds / 2) / step_seconds), 20)
    return config.replace(
        steps=steps,
        warmup_steps=min(config.warmup_steps, steps // 10),
        eval_every=max(steps // evaluations, 1),
    )


def fit_batch(name: str, options: Json) -> Json:
    """Seconds of `count` fits, all at once and one after the other.

    Options: count; changes (config fields); of: "images", which are the sample's
    mirror images and rotations and their negatives, or "seeds" of the sample alone.
    """
    from jax_inr.fitting import fit_many
    from jax_inr.io.images import sample_image

    config = preset(name).replace(eval_every=10**6, **options.get("changes", {}))
    image, count = sample_image(size=224).image, options["count"]
    images, configs = [image] * count, [config] * count
    if options.get("of") == "seeds":
        configs = [config.replace(seed=seed) for seed in range(count)]
    else:
        turned = [np.rot90(image, turn) for turn in range(4)]
        turned += [each[:, ::-1] for each in turned]
        turned += [1 - each for each in turned]
        images = [np.ascontiguousarray(each) for each in turned[:count]]
    start = time.perf_counter()
    together = fit_many(images, configs, on_notice=silent)
    middle = time.perf_counter()
    single = [_fit(*pair) for pair in zip(images, configs, strict=True)]
    end = time.perf_counter()
    differences = [
        abs(a.prediction - b.prediction).max()
        for a, b in zip(together, single, strict=True)
    ]
    return {
        "together": {
            "fit": together[0].summary["seconds"]["fit"],
            "total": middle - start,
            "psnr_db": [found.summary["psnr_db"] for found in together],
        },
        "single": {
            "fit": sum(found.summary["seconds"]["fit"] for found in single),
            "total": end - middle,
            "psnr_db": [found.summary["psnr_db"] for found in single],
        },
        # Between a fit of many and the single fit, over all colours.
        "largest_difference": float(max(differences)),
    }


def _fit(image: Any, config: Config, backend: Any = "jax") -> Any:
    """A fit whose notices nobody reads."""
    from jax_inr.fitting import fit

    return fit(image, config, backend=backend, on_notice=silent)


FITS = {"fit": fit_preset, "peer": peers.fit_peer, "batch": fit_batch}


def main() -> None:
    """`steps NAME` serves turns; `fit|peer|batch NAME OPTIONS` prints JSON."""
    kind, name, *rest = sys.argv[1:]
    if kind == "batch":
        machine.devices_for_cores()  # as the command does
    if kind == "steps":
        serve(name)
    else:
        print(json.dumps(FITS[kind](name, json.loads(rest[0]))))


if __name__ == "__main__":
    main()
