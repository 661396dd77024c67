"""Time fit-a-nef or fit_stream: fit-a-nef|fit-stream IMAGES.npy FIELDS STEPS PARALLEL.

Each in an environment of its own, for fit-a-nef needs JAX 0.4.23: docs/datasets.md has
the versions. Both fit SIRENs of 3 layers of 64 by Adam at 2e-3 to all pixels, and print
a line of JSON with the processor seconds of fitting, without compilation.
"""

import json
import sys
import time
from typing import Any

import numpy as np


def fit_a_nef(images: np.ndarray, steps: int, parallel: int) -> list[Any]:
    """Seconds, processor seconds and each field's PSNR of fit-a-nef's image trainer."""
    import jax
    import jax.numpy as jnp
    from fit_a_nef import (  # pyright: ignore[reportMissingImports]
        RandomInit,
        SignalImageTrainer,
    )

    count, height, width, channels = images.shape
    rows, columns = np.arange(height) / height, np.arange(width) / width
    x = np.stack(np.meshgrid(rows, columns, indexing="ij"), -1).reshape(-1, 2)
    coords = jnp.asarray(2 * x - 1, jnp.float32)
    # Its SIREN has no (1 + y) / 2 at its end: it is given what ours has before.
    values = images.reshape(count, -1, channels)
    size = {"hidden_dim": 64, "num_layers": 4, "output_dim": channels, "omega_0": 30.0}
    rate = {"name": "constant_schedule", "params": {"value": 2e-3}}
    seconds, cpu_seconds, psnr_db = 0.0, 0.0, []
    for first in range(0, count, parallel):
        part = values[first : first + parallel]
        trainer = SignalImageTrainer(
            jnp.asarray(2 * part - 1),
            coords,
            jax.random.PRNGKey(0),
            {"name": "SIREN", "params": size},
            rate,
            {"name": "adam", "params": {}},
            RandomInit(jax.random.PRNGKey(first)),
            num_steps=steps,
            masked_portion=1.0,
        )
        trainer.compile()
        begun, cpu = time.perf_counter(), time.process_time()
        trainer.train_model()
        jax.block_until_ready(trainer.state.params)
        seconds += time.perf_counter() - begun
        cpu_seconds += time.process_time() - cpu
        drawn = np.clip((1 + np.asarray(trainer.apply_model(coords))) / 2, 0, 1)
        psnr_db += list(-10 * np.log10(((drawn - part) ** 2).mean((1, 2))))
    return [seconds, cpu_seconds, psnr_db]


def fit_stream(images: np.ndarray, steps: int, lanes: int) -> list[Any]:
    """The same of fit_stream, once its program is compiled."""
    from jax_inr import machine

    machine.devices_for_cores()
    import jax_inr
    from jax_inr.datasets.build import USUAL

    config = USUAL.replace(steps=steps, eval_every=steps, target_psnr=None)
    list(jax_inr.fit_stream(images[:1], config, lanes=lanes))
    begun, cpu = time.perf_counter(), time.process_time()
    fits = list(jax_inr.fit_stream(images, config, lanes=lanes))
    seconds, cpu_seconds = time.perf_counter() - begun, time.process_time() - cpu
    return [seconds, cpu_seconds, [fit.psnr_db for fit in fits]]


if __name__ == "__main__":
    name, path, *numbers = sys.argv[1:]
    fields, steps, parallel = map(int, numbers)
    images = np.load(path, mmap_mode="r")[:fields]
    images = images.astype(np.float32) / (255 if images.dtype == np.uint8 else 1)
    contender = {"fit-a-nef": fit_a_nef, "fit-stream": fit_stream}[name]
    seconds, cpu_seconds, psnr_db = contender(images, steps, parallel)
    import jax

    print(
        json.dumps(
            {
                "what": name,
                "jax": jax.__version__,
                "fields": fields,
                "steps": steps,
                "parallel": parallel,
                "seconds": round(seconds, 2),
                "cpu_seconds": round(cpu_seconds, 2),
                "mean_psnr_db": round(float(np.mean(psnr_db)), 2),
            }
        )
    )
