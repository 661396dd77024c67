"""A lane's rules and rows against their definitions."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jax_inr.lanes import Lane, Position, Rules, failing

EVERY = st.integers(1, 200)
STEPS = st.integers(1, 5000)


@given(STEPS, EVERY, st.integers(0, 5000))
def test_evaluations_fall_after_steps_1_and_every_so_many_more(steps, every, step):
    rules = Rules(steps, every)
    due = [s for s in range(1, step + every + 2) if (s - 1) % every == 0]
    assert rules.next_due(step) == next(s for s in due if s > step)
    assert rules.is_due(step) == (step in due)


@given(STEPS, EVERY, st.integers(0, 5000))
def test_with_a_target_looks_are_no_farther_apart_than_a_fiftieth(steps, every, step):
    rules = Rules(steps, every, target_psnr=30.0)
    following = rules.next_due(step)
    assert step < following <= step + max(min(every, steps // 50), 1)
    # Whoever steps from look to look misses no evaluation.
    assert following <= Rules(steps, every).next_due(step)


@pytest.mark.parametrize(
    ("rules", "position", "why"),
    [
        (Rules(9, 5), Position(9), "steps"),
        (Rules(9, 5), Position(10), "steps"),
        (Rules(9, 5), Position(8), ""),
        (Rules(9, 5, max_seconds=2.0), Position(8, 2.0), "max_seconds"),
        (Rules(9, 5, max_seconds=2.0), Position(8, 1.9), ""),
        (
            Rules(9, 5, 20.0),
            Position(8, last_row=8, num_rows=1, last_mse=0.01),
            "target_psnr",
        ),
        (Rules(9, 5, 20.1), Position(8, last_row=8, num_rows=1, last_mse=0.01), ""),
        (Rules(9, 5, 20.0), Position(8, last_row=7, num_rows=1, last_mse=0.01), ""),
        # Neither an evaluation that is missing nor one of no number reaches a target.
        (Rules(9, 5, 20.0), Position(0, last_row=0), ""),
        (
            Rules(9, 5, 20.0),
            Position(8, last_row=8, num_rows=1, last_mse=math.nan),
            "",
        ),
    ],
)  # fmt: skip
def test_what_ends_a_fit(rules, position, why):
    assert Lane(rules, position=position).why_stop() == why


def test_rows_follow_from_their_errors():
    lane = Lane(Rules(9, 5))
    assert math.isnan(lane.psnr_db)
    lane.position.seconds = 1.23456789
    lane.record(1, 0.1, 0.3)
    lane.record(6, 0.001, 0.2)
    first, second = lane.rows
    assert first == {
        "step": 1,
        "seconds": 1.234568,
        "loss": 0.3,
        "psnr_db": pytest.approx(10),
        "pooled_psnr_db": pytest.approx(10),
    }
    assert second["psnr_db"] == pytest.approx(30) == lane.psnr_db
    assert second["pooled_psnr_db"] == pytest.approx(-10 * math.log10(0.0505))


@pytest.mark.parametrize(("last", "told"), [(0.2, True), (0.1, False), (0.05, False)])
def test_a_fit_that_ends_worse_than_it_began_is_told(last, told):
    lane = Lane(Rules(9, 5), position=Position(first_mse=0.1, last_mse=last))
    assert bool(lane.worse) == told
    assert not told or ("0.2" in lane.worse and "0.1" in lane.worse)


def test_an_error_inside_is_the_lane_s_own_and_an_interrupt_is_not():
    lane = Lane(Rules(9, 5))
    with failing(lane):
        raise OSError("disk")
    assert isinstance(lane.error, OSError) and lane.stopped == "failed"
    assert not lane.is_interrupted
    with pytest.raises(KeyboardInterrupt), failing(lane):
        raise KeyboardInterrupt
