"""The number of lanes that a trial chooses, of pools whose times are known."""

import numpy as np
import pytest

from jax_inr import Config
from jax_inr.datasets import trial


def chosen(monkeypatch, in_turn: bool, cost) -> int:
    """The lanes chosen where a chunk takes cost(lanes that are busy) seconds."""

    class Pool:
        def __init__(self, shape, config, count):
            assert config.target_psnr is None  # a lane that stops costs nothing
            self.count, self.in_turn, self.seconds = count, in_turn, 0.0
            self.busy: set[int] = set()

        @property
        def free(self):
            return [lane for lane in range(self.count) if lane not in self.busy]

        def give(self, lane, *about):
            self.busy.add(lane)

        def advance(self):
            self.seconds += cost(len(self.busy))

    monkeypatch.setattr(trial, "Pool", Pool)
    monkeypatch.setattr(trial, "pool_devices", lambda: [None])
    return trial.measured_lanes((4, 4, 3), Config(target_psnr=20.0))


@pytest.mark.parametrize(("free", "lanes"), [(1, 4), (64, 64), (10**9, 4096)])
def test_lanes_that_step_together_grow_while_that_makes_a_step_cheaper(
    monkeypatch, free, lanes
):
    # As many lanes as `free` take a second; above, each costs its own.
    assert chosen(monkeypatch, False, lambda busy: max(busy, free) / free) == lanes


@pytest.mark.parametrize(
    ("beside", "own", "lanes"),
    [(1.0, 0.1, 200), (1e-3, 1.0, 4), (1.0, 1e-6, 4096)],
)
def test_lanes_in_turn_make_what_they_share_a_twentieth(
    monkeypatch, beside, own, lanes
):
    found = chosen(monkeypatch, True, lambda busy: beside + own * busy)
    np.testing.assert_allclose(found, lanes, atol=1)
