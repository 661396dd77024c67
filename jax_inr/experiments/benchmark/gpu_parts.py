"""Parts of the GPU's benchmark, each in a process of its own.

`python -m jax_inr.experiments.benchmark.gpu_parts NAME OPTIONS` prints a line of JSON
for each thing measured, at once, so that what is cut has lost only what was under way.
Options: images (a folder), quick (tiny sizes, for a test on any device).
"""

import itertools
import json
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from jax_inr.config import Config
from jax_inr.experiments.report import Json, silent
from jax_inr.presets import preset

PRECISIONS = ("float32", "tf32", "bfloat16")
# Fields of `fast` and `quality` that suit a GPU, which holds a whole image's
# activations, and for which a step of many pixels costs as much as one of few.
RECIPES: dict[str, Config] = {
    "grids": preset("fast").replace(batch_size=None, num_levels=6, learning_rate=0.03),
    "waves": preset("quality").replace(
        sampling="lattice",
        batch_size=98_304,
        hidden_features=(256, 256, 256),
        sigma=25.0,
        matmul_precision="tf32",
    ),
    "hash": preset("fast").replace(
        encoding="hash_grid",
        level_features=2,
        sampling="pixels",
        batch_size=98_304,
        coarsest=16,
        finest=512,
        log2_table_size=14,
        learning_rate=0.01,
    ),
}
NUM_PARAMS = (300_000, 500_000, 700_000)
STEPS = {
    "grids": (250, 1000, 4000),
    "waves": (500, 2000, 6000),
    "hash": (250, 1000, 4000),
}


def steps(options: Json) -> Iterator[Json]:
    """The machine's ceilings, then a step of `optimized` in each precision."""
    import jax

    device = jax.devices()[0]
    yield {"device": device.device_kind, "platform": device.platform}
    quick = options["quick"]
    precisions = [p for p in PRECISIONS if p != "tf32" or device.platform == "gpu"]
    peaks = {}
    for precision in precisions:
        peaks[precision] = product_flops(precision, 128 if quick else 8192)
        yield {"ceiling": precision, "tflops": peaks[precision] / 1e12}
    bandwidth = copy_bytes(1 << (16 if quick else 30))
    yield {"ceiling": "copy", "terabytes": bandwidth / 1e12}
    for precision in precisions:
        yield step(precision, peaks[precision], bandwidth, quick)


def product_flops(precision: str, side: int) -> float:
    """Operations a second of a square product of random matrices."""
    import jax
    import jax.numpy as jnp

    from jax_inr.layers import dot_general

    product = dot_general(precision)
    dtype = jnp.bfloat16 if precision == "bfloat16" else jnp.float32
    a = jax.random.normal(jax.random.key(0), (side, side), jnp.float32).astype(dtype)
    multiply = jax.jit(lambda a: product(a, a, (((1,), (0,)), ((), ()))))
    return 2 * side**3 / median_seconds(lambda: multiply(a))


def copy_bytes(size: int) -> float:
    """Bytes a second of a copy on the device, read and written."""
    import jax
    import jax.numpy as jnp

    array = jnp.zeros(size // 4)
    # Not x + 0, which is the array itself.
    change = jax.jit(lambda x: x + 1)
    return 2 * size / median_seconds(lambda: change(array))


def median_seconds(run: Callable[[], Any], repeats: int = 10) -> float:
    """The median of a few runs, after two that warm up."""
    import jax

    seconds = []
    for _ in range(repeats + 2):
        start = time.perf_counter()
        jax.block_until_ready(run())
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds[2:])


def step(precision: str, peak: float, bandwidth: float, quick: bool) -> Json:
    """Steps a second of `optimized`, beside the least that it could take.

    The least is the time of its operations at the measured rate of a product, or that
    of its bytes at the measured rate of a copy, whichever is longer.
    """
    from jax_inr.io.images import sample_image
    from jax_inr.job import make_job
    from jax_inr.tasks import from_config
    from jax_inr.trainer import JaxTrainer

    side = 16 if quick else 224
    config = preset("optimized").replace(matmul_precision=precision)
    task = from_config(config, sample_image(size=side).image)
    start = time.perf_counter()
    trainer = JaxTrainer([make_job(task, config)])
    trainer.compile()
    compile_seconds = time.perf_counter() - start
    repeats = 2 if quick else 200
    trainer.advance(repeats, [True])
    seconds = []
    for _ in range(2 if quick else 7):
        start = time.perf_counter()
        trainer.advance(repeats, [True])
        seconds.append((time.perf_counter() - start) / repeats)
    found = statistics.median(seconds)
    flops, moved = step_counts(side * side)
    least = max(flops / peak, moved / bandwidth)
    return {
        "step": precision,
        "steps_a_second": 1 / found,
        "least_seconds": min(seconds),
        "compile_seconds": compile_seconds,
        "gflop": flops / 1e9,
        "gigabytes": moved / 1e9,
        "share_of_product": flops / peak / found,
        "share_of_least": least / found,
    }


def step_counts(pixels: int) -> tuple[int, int]:
    """Operations and bytes of a step of `optimized`: each product's, and no more.

    Forward and both gradients, but none by the features; each product reads its two
    float32 operands once and writes its result once, activations being part of it.
    """
    widths = (256, *preset("optimized").hidden_features, 3)
    flops = moved = 0
    for layer, (a, b) in enumerate(itertools.pairwise(widths)):
        products = 3 if layer else 2
        flops += products * 2 * pixels * a * b
        moved += products * 4 * (pixels * (a + b) + a * b)
    return flops, moved


def kodak(recipe: str, options: Json) -> Iterator[Json]:
    """PSNR and seconds of fits of every image, by numbers and steps.

    Schedules end where a fit does, so that each number of steps is a fit of its own.
    """
    from jax_inr.io.images import load_image
    from jax_inr.machine import select
    from jax_inr.scaling import with_num_params

    images = [
        load_image(path) for path in sorted(Path(options["images"]).glob("*.png"))
    ]
    lengths, sizes = STEPS[recipe], NUM_PARAMS
    if options["quick"]:
        images = [each._replace(image=each.image[:24, :32]) for each in images[:1]]
        lengths, sizes = (2, 3), (3000,)
    config = RECIPES[recipe]
    if config.matmul_precision == "tf32" and select("auto").platform == "cpu":
        config = config.replace(matmul_precision="float32")
    for size in sizes:
        # Compiled by the first, and used by all that follow.
        scaled = with_num_params(config, size, *images[0].image.shape)
        ready = fitted(images[0], scaled.replace(steps=2, warmup_steps=0))
        yield {"recipe": recipe, "size": size, "ready_seconds": ready["ready_seconds"]}
    for length, size in itertools.product(lengths, sizes):
        scaled = with_num_params(config, size, *images[0].image.shape)
        warmup = min(config.warmup_steps, length // 10)
        for image in images:
            asked = scaled.replace(steps=length, warmup_steps=warmup)
            found = fitted(image, asked)
            yield {
                "recipe": recipe,
                "size": size,
                "image": Path(image.path).stem,
                **found,
            }


def fitted(image: Any, config: Config) -> Json:
    """What a fit comes to, evaluated at its end alone, which its seconds leave out."""
    from jax_inr.cost import count_params
    from jax_inr.job import make_job
    from jax_inr.metrics import psnr_from_mse
    from jax_inr.tasks import from_config
    from jax_inr.trainer import JaxTrainer

    start = time.perf_counter()
    job = make_job(from_config(config, image.image), config)
    trainer = JaxTrainer([job])
    trainer.compile()
    ready, left = time.perf_counter(), config.steps
    while left:
        # It waits for the steps of a chunk.
        trainer.advance(min(left, trainer.max_chunk_steps), [True])
        left = config.steps - trainer.steps[0]
    seconds = time.perf_counter() - ready
    return {
        "steps": config.steps,
        "num_params": count_params(job.model),
        "psnr_db": float(psnr_from_mse(trainer.evaluate(0))),
        "fit_seconds": seconds,
        "ready_seconds": ready - start,
    }


def many(options: Json) -> Iterator[Json]:
    """Fits a second of small images, all at once: SIREN of three layers of 64."""
    from jax_inr.fitting import fit_many
    from jax_inr.io.images import sample_image

    side, length, counts = 32, 500, (1, 16, 64)
    if options["quick"]:
        side, length, counts = 8, 2, (2,)
    whole = sample_image(size=256).image
    config = preset("quality").replace(
        encoding="none",
        hidden_features=(64, 64, 64),
        optimizer="adam",
        learning_rate=1e-3,
        batch_size=None,
        sampling="pixels",
        schedule="constant",
        warmup_steps=0,
        steps=length,
        eval_every=10**6,
    )
    crops = [
        np.ascontiguousarray(whole[i : i + side, j : j + side])
        for i, j in itertools.product(range(0, 256, side), repeat=2)
    ]
    for count in counts:
        images = [crops[i % len(crops)] for i in range(count)]
        start = time.perf_counter()
        fits = fit_many(images, config, on_notice=silent)
        yield {
            "count": count,
            "steps": length,
            "fit_seconds": fits[0].summary["seconds"]["fit"],
            "ready_seconds": fits[0].summary["seconds"]["compile"],
            "total_seconds": time.perf_counter() - start,
            "psnr_db": float(np.mean([f.summary["psnr_db"] for f in fits])),
        }


def main() -> None:
    """Print what a part measures, a line of JSON each."""
    name, options = sys.argv[1], json.loads(sys.argv[2])
    measured = kodak(name, options) if name in RECIPES else PARTS[name](options)
    for found in measured:
        print(json.dumps(found), flush=True)


PARTS: dict[str, Callable[[Json], Iterator[Json]]] = {"steps": steps, "many": many}


if __name__ == "__main__":
    main()
