"""Who is timed by the benchmark: steps in turns, and whole fits.

A contender of steps prepares everything and returns `run(repeats)`, which gives the
seconds of one repeat. A fit gives its evaluations, (seconds, psnr_db), and how long it
took to get ready. Each runs in a process of its own:
`python -m jax_inr.experiments.benchmark.contenders`.
"""

import importlib
import json
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from jax_inr.config import Config
from jax_inr.machine import devices_for_cores
from jax_inr.presets import preset

Run = Callable[[int], float]
PRODUCT_SIDE = 2048  # of the square matrix product that measures the machine


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
        return seconds / (2 * PRODUCT_SIDE**3 / 1e9)

    return run


def trainer_steps(backend: str, name: str, precision: str = "float32") -> Run:
    """Training steps of a preset on the sample picture, in one of the back ends."""
    from jax_inr.fitting import make_trainer
    from jax_inr.io.images import sample_image

    config = preset(name).replace(matmul_precision=precision)
    target = sample_image(size=224).image * np.float32(255 / config.rgb_max)
    trainer = make_trainer(backend, config, target, "auto")
    trainer.compile()

    def run(repeats: int) -> float:
        start = time.perf_counter()
        trainer.advance(repeats)
        return (time.perf_counter() - start) / repeats

    return run


def torch_linear(compiled: bool) -> Run:
    """`optimized` in torch as a user would speed it up: rows of pixels and Linear."""
    import torch

    from jax_inr.coordinates import pixel_grid
    from jax_inr.io.images import sample_image

    torch.manual_seed(0)
    coords = torch.tensor(pixel_grid(224, 224).reshape(-1, 2))
    phases = 2 * torch.pi * coords @ (10 * torch.randn(2, 128))
    features = torch.cat([phases.sin(), phases.cos()], -1)
    target = torch.tensor(sample_image(size=224).image.reshape(-1, 3)) * (255 / 256)
    widths = ((256, 128), (128, 256))
    hidden = [m for a, b in widths for m in (torch.nn.Linear(a, b), torch.nn.ReLU())]
    net = torch.nn.Sequential(*hidden, torch.nn.Linear(256, 3), torch.nn.Sigmoid())
    optimizer = torch.optim.SGD(net.parameters(), lr=1.0, momentum=0.9)

    def loss() -> torch.Tensor:
        return torch.nn.functional.mse_loss(net(features), target)

    evaluate = torch.compile(loss) if compiled else loss

    def run(repeats: int) -> float:
        start = time.perf_counter()
        for _ in range(repeats):
            optimizer.zero_grad()
            evaluate().backward()
            optimizer.step()
        return (time.perf_counter() - start) / repeats

    return run


CONTENDERS: dict[str, tuple[Callable[..., Run], tuple[Any, ...], int]] = {
    # name: maker, its arguments, repeats in a turn
    "product": (product, (), 40),
    "optimized, jax": (trainer_steps, ("jax", "optimized"), 8),
    "optimized, torch": (trainer_steps, ("torch", "optimized"), 4),
    "optimized, torch Linear": (torch_linear, (False,), 4),
    "optimized, torch.compile": (torch_linear, (True,), 4),
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


def silent(notice: str) -> None:
    """Nobody reads a contender's notices."""


def fit_preset(name: str, options: dict[str, Any]) -> dict[str, Any]:
    """A preset's whole fit of the sample picture, in one of the back ends.

    Options: backend, image (a path; left out, the sample), changes (of config fields),
    budget_seconds, evaluations. With a budget, the steps and the evaluations between
    them are as many as fit into it at the rate of a first short run.
    """
    from jax_inr.fitting import fit
    from jax_inr.io.images import load_image, sample_image

    backend, path = options.get("backend", "jax"), options.get("image")
    picture = load_image(path) if path else sample_image(size=224)
    config = Config.from_dict(preset(name).to_dict() | options.get("changes", {}))
    if budget := options.get("budget_seconds"):
        trial = config.replace(steps=60, warmup_steps=0, eval_every=10**6)
        first, last = fit(picture, trial, backend=backend, on_notice=silent).rows
        # The first row is of one step and an evaluation.
        rate = 59 / (last["seconds"] - first["seconds"])
        count = options.get("evaluations", 20)
        left = max(0.97 * budget - count * first["seconds"], budget / 2)
        steps = max(int(rate * left), 20)
        warmup = min(config.warmup_steps, steps // 10)
        every = max(steps // count, 1)
        config = config.replace(steps=steps, warmup_steps=warmup, eval_every=every)
    result = fit(picture, config, backend=backend, on_notice=silent)
    return {
        "rows": [[row["seconds"], row["psnr_db"]] for row in result.rows],
        "psnr_db": result.summary["psnr_db"],
        "steps": result.summary["steps"],
        "num_params": result.summary["num_params"],
        "ready_seconds": result.summary["seconds"]["compile"],
        "fit_seconds": result.summary["seconds"]["fit"],
    }


def fit_peer(name: str, options: dict[str, Any]) -> dict[str, Any]:
    """What a user would take from PyPI, with that package's documented settings.

    siren-pytorch: five layers of 256, w0_initial 30, final sigmoid (its README), Adam
    at 1e-4 (the SIREN paper). random-fourier-features-pytorch: sigma 10, 256
    frequencies (its README), the paper's three layers of 256 and sigmoid, Adam at 1e-2.
    Options: steps, seconds (of fitting, at most).
    """
    import torch

    from jax_inr.coordinates import pixel_grid
    from jax_inr.io.images import sample_image
    from jax_inr.metrics import psnr

    start = time.perf_counter()
    torch.manual_seed(0)
    picture = sample_image(size=224).image
    coords = torch.tensor(pixel_grid(224, 224).reshape(-1, 2))
    if name == "siren-pytorch":
        from siren_pytorch import SirenNet

        net = SirenNet(
            dim_in=2,
            dim_hidden=256,
            dim_out=3,
            num_layers=5,
            final_activation=torch.nn.Sigmoid(),
            w0_initial=30.0,
        )
        inputs, rate = 2 * coords - 1, 1e-4
    else:
        # By name, for type checkers: it is in the extra "peers" alone.
        layers = importlib.import_module("rff.layers")
        encoding = layers.GaussianEncoding(sigma=10.0, input_size=2, encoded_size=256)
        inputs, rate = encoding(coords), 1e-2
        hidden = []
        for width in (512, 256, 256):
            hidden += [torch.nn.Linear(width, 256), torch.nn.ReLU()]
        net = torch.nn.Sequential(*hidden, torch.nn.Linear(256, 3), torch.nn.Sigmoid())
    target = torch.tensor(picture.reshape(-1, 3))
    optimizer = torch.optim.Adam(net.parameters(), lr=rate)
    torch.nn.functional.mse_loss(net(inputs), target).backward()
    ready, rows, seconds, step = time.perf_counter() - start, [], 0.0, 0
    while step < options["steps"] and seconds < options["seconds"]:
        begin = time.perf_counter()
        for _ in range(10):
            optimizer.zero_grad()
            torch.nn.functional.mse_loss(net(inputs), target).backward()
            optimizer.step()
        seconds, step = seconds + time.perf_counter() - begin, step + 10
        with torch.no_grad():
            colours = net(inputs).numpy().reshape(picture.shape)
        rows.append([seconds, float(psnr(colours, picture))])
    return {
        "rows": rows,
        "psnr_db": rows[-1][1],
        "steps": step,
        "num_params": sum(leaf.numel() for leaf in net.parameters()),
        "ready_seconds": ready,
        "fit_seconds": seconds,
    }


def fit_batch(name: str, options: dict[str, Any]) -> dict[str, Any]:
    """Seconds of `count` fits, all at once and one after the other.

    Options: count; changes (config fields); of: "pictures", which are the sample's
    mirror images and rotations and their negatives, or "seeds" of the sample alone.
    """
    from jax_inr.fitting import fit
    from jax_inr.io.images import sample_image
    from jax_inr.many import fit_many

    config = preset(name).replace(eval_every=10**6, **options.get("changes", {}))
    image, count = sample_image(size=224).image, options["count"]
    pictures, configs = [image] * count, [config] * count
    if options.get("of") == "seeds":
        configs = [config.replace(seed=seed) for seed in range(count)]
    else:
        turned = [np.rot90(image, turn) for turn in range(4)]
        turned += [one[:, ::-1] for one in turned]
        turned += [1 - one for one in turned]
        pictures = [np.ascontiguousarray(one) for one in turned[:count]]
    start = time.perf_counter()
    together = fit_many(pictures, configs)
    middle = time.perf_counter()
    single = [
        fit(*one, on_notice=silent) for one in zip(pictures, configs, strict=True)
    ]
    end = time.perf_counter()
    apart = [
        abs(a.prediction - b.prediction).max()
        for a, b in zip(together, single, strict=True)
    ]
    return {
        "together": {
            "fit": together[0].summary["seconds"]["fit"],
            "total": middle - start,
            "psnr_db": [one.summary["psnr_db"] for one in together],
        },
        "single": {
            "fit": sum(one.summary["seconds"]["fit"] for one in single),
            "total": end - middle,
            "psnr_db": [one.summary["psnr_db"] for one in single],
        },
        # The largest difference of a colour between a fit of many and the single one.
        "apart": float(max(apart)),
    }


def main() -> None:
    """`steps NAME` serves turns; `fit|peer|batch NAME OPTIONS` prints JSON."""
    kind, name, *rest = sys.argv[1:]
    if kind == "batch":
        devices_for_cores()  # as the command does
    if kind == "steps":
        serve(name)
        return
    function = {"fit": fit_preset, "peer": fit_peer, "batch": fit_batch}[kind]
    print(json.dumps(function(name, json.loads(rest[0]))))


if __name__ == "__main__":
    main()
