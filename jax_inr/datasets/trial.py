"""The number of lanes, found by a short measurement."""

from typing import Any

import numpy as np

from jax_inr.config import Config
from jax_inr.datasets.pool import Pool, pool_devices

MOST_LANES = 4096
# More lanes must be worth this much, or they stay as many as they are.
WORTH = 1.05


def measured_lanes(shape: tuple[int, ...], config: Config, **options: Any) -> int:
    """The number of lanes from which on more make no step cheaper, by a short trial.

    Lanes that take turns share what a chunk costs beside its steps: enough of them
    make it a twentieth. Of lanes that step together, four times as many are tried
    while steps a second grow by a twentieth.
    """
    trial = config.replace(target_psnr=None)
    noise = np.random.default_rng(0).random(shape, np.float32)

    def seconds(pool: Pool, *, busy: bool) -> float:
        taken = []
        for _ in range(3):
            for lane in pool.free if busy else ():
                pool.give(lane, True, lane, noise)
            before = pool.seconds
            pool.advance()
            taken.append(pool.seconds - before)
        return min(taken)

    pool = Pool(shape, trial, 4 * len(pool_devices(**options)), **options)
    if pool.in_turn:
        beside = seconds(pool, busy=False)
        own = max(seconds(pool, busy=True) - beside, 1e-9) / pool.count
        return int(np.clip(beside / own / (WORTH - 1), pool.count, MOST_LANES))
    best, rate = 0, 0.0
    while (found := pool.count / seconds(pool, busy=True)) > WORTH * rate:
        best, rate = pool.count, found
        if best >= MOST_LANES:
            break
        pool = Pool(shape, trial, 4 * best, **options)
    return best
