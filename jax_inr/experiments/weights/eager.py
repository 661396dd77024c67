"""The loop that sets of fields are usually made with: torch, eager, an image at a time.

Run as a module it is one process of the race: it fits its images and prints its
seconds as JSON.
"""

import itertools
import json
import math
import os
import sys
import time
from typing import Any

import numpy as np

CHECK_EVERY = 10  # steps between looks at the target, as in the stream


def fit_one(
    torch: Any, image: np.ndarray, steps: int, target_psnr: float | None
) -> int:
    """Fit a SIREN of 3 layers of 64 by Adam at 2e-3; returns the steps it took."""
    height, width, channels = image.shape
    axes = [torch.arange(n) / n * 2 - 1 for n in (height, width)]
    coords = torch.stack(torch.meshgrid(*axes, indexing="ij"), -1).reshape(-1, 2)
    colours = torch.from_numpy(image.reshape(-1, channels))
    widths, layers = (2, 64, 64, 64, channels), []
    for index, (inputs, outputs) in enumerate(itertools.pairwise(widths)):
        layer = torch.nn.Linear(inputs, outputs)
        bound = 1 / inputs if index == 0 else math.sqrt(6 / inputs) / 30
        torch.nn.init.uniform_(layer.weight, -bound, bound)
        layers.append(layer)
    optimizer = torch.optim.Adam([p for x in layers for p in x.parameters()], 2e-3)

    def predict() -> Any:
        x = coords
        for layer in layers[:-1]:
            x = torch.sin(30 * layer(x))
        return (1 + layers[-1](x)) / 2

    for step in range(1, steps + 1):
        optimizer.zero_grad()
        loss = ((predict() - colours) ** 2).mean()
        loss.backward()
        optimizer.step()
        if target_psnr is not None and step % CHECK_EVERY == 0:
            with torch.no_grad():
                mse = ((predict().clamp(0, 1) - colours) ** 2).mean()
                if -10 * math.log10(float(mse)) >= target_psnr:
                    return step
    return steps


def main(words: list[str]) -> None:
    """Fit images start to stop of a file, on one core; print seconds and steps."""
    path, core, start, stop, steps, target = words
    if hasattr(os, "sched_setaffinity"):
        cores = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, {cores[int(core) % len(cores)]})
    import torch

    torch.set_num_threads(1)
    images = np.load(path, mmap_mode="r")[int(start) : int(stop)]
    floats = [x.astype(np.float32) / 255 for x in images]
    goal = float(target) or None
    fit_one(torch, floats[0], 5, None)  # what the first call alone does
    begun, cpu = time.perf_counter(), time.process_time()
    taken = [fit_one(torch, image, int(steps), goal) for image in floats]
    seconds = time.perf_counter() - begun
    row = {"seconds": seconds, "cpu_seconds": time.process_time() - cpu}
    print(json.dumps(row | {"fields": len(floats), "steps": sum(taken)}))


if __name__ == "__main__":
    main(sys.argv[1:])
