"""The host loop, driven by a trainer whose every number is known in closed form."""

import dataclasses
import math
import os
import signal
import threading

import numpy as np
import pytest

from jax_inr import loop
from jax_inr.cli.signals import HANDLED, SignalGuard
from jax_inr.config import Config
from jax_inr.errors import DivergedError
from jax_inr.loop import Position, run

TARGET = np.full((4, 5, 3), 0.25, np.float32)
WHOLE = Config(steps=20, eval_every=5)
BATCH = WHOLE.replace(batch_size=8)
TARGETED = WHOLE.replace(target_psnr=900.0)
MODES = {"whole": WHOLE, "batch": BATCH, "targeted": TARGETED}


def mse_after(steps):
    """The squared error of the fake trainer's parameters after some steps."""
    return (0.5 * 0.9**steps) ** 2


def psnr_after(steps):
    return -10 * math.log10(mse_after(steps))


class Clock:
    """Stands for the `time` module; stands still but where it is told to move."""

    def __init__(self):
        self.now = 1000.0

    def perf_counter(self):
        return self.now

    monotonic = perf_counter


class FakeTrainer:
    """Its error falls by a tenth a step; a step takes `step_seconds`."""

    device = "fake"

    def __init__(self, clock, step_seconds=0.125, bad_step=None, during=None):
        self.error = np.array(0.5)
        self.step = 0
        self.chunks = []
        self.predictions = 0
        self._clock, self._step_seconds = clock, step_seconds
        self._bad_step = bad_step  # after it, the parameters are not finite
        self._during = during or (lambda step: None)

    def compile(self):
        raise AssertionError("the caller compiles")

    def advance(self, num_steps):
        assert num_steps >= 1
        self.chunks.append(num_steps)
        losses = []
        for _ in range(num_steps):
            losses.append(self.error**2)
            self._during(self.step)
            self.error = self.error * 0.9
            self.step += 1
            if self.step == self._bad_step:
                self.error = self.error * np.nan
            self._clock.now += self._step_seconds
        return np.array(losses, np.float32)

    def learning_rate(self, step):
        return 0.125

    def predict(self):
        self.predictions += 1
        return TARGET + np.float32(self.error)

    def parameters(self):
        return {}

    def state(self):
        return {"error": self.error.copy(), "step": np.array(self.step)}

    def load_state(self, tensors):
        self.error, self.step = tensors["error"].copy(), int(tensors["step"])


@dataclasses.dataclass
class Ran:
    """What a run left: its outcome, its trainer, rows and saved positions."""

    trainer: FakeTrainer
    outcome: loop.Outcome
    rows: list
    saved: list


@pytest.fixture
def clock(monkeypatch):
    fake = Clock()
    monkeypatch.setattr(loop, "time", fake)
    return fake


def drive(config, trainer, saved=None, **kwargs):
    rows, saved = [], [] if saved is None else saved

    def save(at):
        saved.append((dataclasses.replace(at), trainer.state()))

    with SignalGuard() as guard:
        outcome = run(
            trainer, config, TARGET, guard, on_row=rows.append, save=save, **kwargs
        )
    assert outcome.rows == rows
    return Ran(trainer, outcome, rows, saved)


# Evaluations


@pytest.mark.parametrize("name", MODES)
@pytest.mark.parametrize(
    ("steps", "every", "expected"),
    [
        (20, 5, [1, 6, 11, 16, 20]),
        (21, 5, [1, 6, 11, 16, 21]),
        (1, 5, [1]),
        (6, 1, [1, 2, 3, 4, 5, 6]),
        (3, 100, [1, 3]),
    ],
)
def test_evaluations_fall_after_step_1_every_so_many_and_the_last(
    clock, name, steps, every, expected
):
    config = MODES[name].replace(steps=steps, eval_every=every)
    ran = drive(config, FakeTrainer(clock))
    assert [row["step"] for row in ran.rows] == expected
    assert ran.trainer.step == steps == ran.outcome.position.step
    assert (ran.outcome.stopped, ran.outcome.interrupted) == ("steps", False)
    for row in ran.rows:
        assert row["psnr_db"] == pytest.approx(psnr_after(row["step"]), rel=1e-5)
    np.testing.assert_allclose(
        ran.outcome.prediction, TARGET + 0.5 * 0.9**steps, rtol=1e-6
    )


@pytest.mark.parametrize("name", MODES)
def test_the_pooled_psnr_averages_the_errors_of_all_evaluations(clock, name):
    ran = drive(MODES[name], FakeTrainer(clock))
    for n, row in enumerate(ran.rows, 1):
        pooled = np.mean([mse_after(earlier["step"]) for earlier in ran.rows[:n]])
        expected = pytest.approx(-10 * math.log10(pooled), rel=1e-5)
        assert row["pooled_psnr_db"] == expected


def test_the_loss_of_a_row_is_the_last_that_was_seen(clock):
    # The whole picture: the next step's loss, which is the evaluation's own.
    whole = drive(WHOLE, FakeTrainer(clock)).rows[:-1]
    assert [r["loss"] for r in whole] == pytest.approx(
        [mse_after(r["step"]) for r in whole], rel=1e-6
    )
    # Mini-batches: the loss of the step before, which was on other pixels.
    batch = drive(BATCH, FakeTrainer(clock)).rows
    assert [r["loss"] for r in batch] == pytest.approx(
        [mse_after(r["step"] - 1) for r in batch], rel=1e-6
    )


def test_full_batch_losses_spare_the_second_forward_pass(clock):
    assert drive(WHOLE, FakeTrainer(clock)).trainer.predictions == 1
    pixels = TARGET[..., 0].size
    full = WHOLE.replace(batch_size=pixels)
    assert drive(full, FakeTrainer(clock)).trainer.predictions == 1
    # Mini-batches: before the first step and at each of five evaluations.
    almost = WHOLE.replace(batch_size=pixels - 1)
    assert drive(almost, FakeTrainer(clock)).trainer.predictions == 6


@pytest.mark.parametrize("name", MODES)
def test_the_error_before_the_first_step_is_kept(clock, name):
    ran = drive(MODES[name], FakeTrainer(clock))
    assert ran.outcome.position.first_mse == pytest.approx(mse_after(0), rel=1e-5)
    # Also where the fit goes on from a later step.
    again = FakeTrainer(clock)
    again.load_state(ran.saved[-1][1])
    more, position = (
        MODES[name].replace(steps=30),
        dataclasses.replace(ran.saved[-1][0]),
    )
    position = drive(more, again, position=position).outcome.position
    assert position.first_mse == pytest.approx(mse_after(0), rel=1e-5)
    assert position.last_mse == pytest.approx(mse_after(30), rel=1e-4)


def test_predictions_are_clipped_before_they_are_measured(clock, monkeypatch):
    trainer = FakeTrainer(clock)
    monkeypatch.setattr(trainer, "predict", lambda: TARGET + 9)
    row = drive(BATCH.replace(steps=1), trainer).rows[0]
    assert row["psnr_db"] == pytest.approx(-20 * math.log10(0.75))


def test_no_steps_leave_the_fit_as_it_was(clock):
    ran = drive(WHOLE.replace(steps=0), FakeTrainer(clock))
    assert (ran.rows, ran.trainer.chunks, ran.outcome.stopped) == ([], [], "steps")


# The clock decides chunk lengths, saves and max_seconds, and nothing else


@pytest.mark.parametrize("name", MODES)
def test_the_clock_changes_no_number(clock, name):
    def rows(step_seconds):
        ran = drive(MODES[name].replace(steps=60), FakeTrainer(clock, step_seconds))
        numbers = [{**row, "seconds": None} for row in ran.rows]
        return numbers, ran.trainer.chunks

    slow, fast = rows(10.0), rows(1e-5)
    assert slow[0] == fast[0] and slow[1] != fast[1]


def test_chunks_take_about_half_a_second(clock):
    ran = drive(WHOLE.replace(steps=1000, eval_every=1000), FakeTrainer(clock, 0.01))
    assert ran.trainer.chunks[:3] == [1, 50, 50]
    assert sum(ran.trainer.chunks) == 1000
    quick = drive(
        WHOLE.replace(steps=10_000, eval_every=10_000), FakeTrainer(clock, 1e-6)
    )
    assert quick.trainer.chunks == [1, loop.MAX_CHUNK_STEPS, loop.MAX_CHUNK_STEPS, 1807]


@pytest.mark.parametrize("config", [WHOLE, BATCH], ids=["whole", "batch"])
def test_max_seconds_ends_after_the_chunk_that_reaches_it(clock, config):
    config = config.replace(steps=1000, eval_every=1000, max_seconds=1.05)
    ran = drive(config, FakeTrainer(clock))
    # Chunks of 1, 4, 4 steps end at 0.125, 0.625 and 1.125 seconds.
    assert (ran.outcome.stopped, ran.trainer.step) == ("max_seconds", 9)
    assert ran.outcome.position.seconds == 1.125
    assert ran.rows[-1]["step"] == 9


def test_seconds_count_on_over_sessions(clock):
    position = Position(step=0, seconds=1.0)
    config = WHOLE.replace(steps=1000, max_seconds=1.05)
    ran = drive(config, FakeTrainer(clock), position=position)
    assert ran.trainer.step == 1


def test_seconds_of_evaluations_count(clock, monkeypatch):
    trainer = FakeTrainer(clock)
    inner = trainer.predict

    def slow():
        clock.now += 100
        return inner()

    monkeypatch.setattr(trainer, "predict", slow)
    ran = drive(BATCH.replace(steps=1), trainer)
    assert ran.rows[0]["seconds"] == 100.125


def test_saves_follow_the_clock_and_the_end(clock):
    config = WHOLE.replace(steps=100, eval_every=100)
    often = drive(config, FakeTrainer(clock), save_every_seconds=1.0).saved
    steps = [at.step for at, _ in often]
    # 12.5 seconds, in chunks of half a second.
    assert steps[-1] == 100 and 12 <= len(steps) <= 13
    for at, state in often:
        assert state["step"] == at.step
        assert state["error"] == pytest.approx(0.5 * 0.9**at.step)
    seldom = drive(config, FakeTrainer(clock), save_every_seconds=1e9).saved
    assert [at.step for at, _ in seldom] == [100]


def test_progress_is_told_after_each_chunk(clock):
    told = []
    ran = drive(BATCH, FakeTrainer(clock), on_progress=told.append)
    assert [p.step for p in told] == np.cumsum(ran.trainer.chunks).tolist()
    last = told[-1]
    assert (last.steps, last.steps_per_second) == (20, 8)
    assert last.loss == pytest.approx(mse_after(19), rel=1e-6)
    assert last.psnr_db == pytest.approx(psnr_after(16), rel=1e-5)


# target_psnr


@pytest.mark.parametrize("config", [WHOLE, BATCH], ids=["whole", "batch"])
@pytest.mark.parametrize("step_seconds", [1e-5, 0.03, 10.0])
def test_the_first_evaluation_with_the_target_ends_the_fit(clock, config, step_seconds):
    # After 10 steps the PSNR is above, but nobody looks before step 11.
    config = config.replace(target_psnr=psnr_after(9.5))
    ran = drive(config, FakeTrainer(clock, step_seconds))
    assert (ran.outcome.stopped, ran.trainer.step) == ("target_psnr", 11)
    assert not ran.outcome.interrupted
    assert [row["step"] for row in ran.rows] == [1, 6, 11]
    assert ran.rows[-1]["psnr_db"] >= config.target_psnr > ran.rows[-2]["psnr_db"]
    # The parameters kept are those that were measured.
    assert ran.saved[-1][0].step == 11
    error = ran.outcome.prediction - TARGET
    assert -10 * np.log10(np.mean(error**2)) >= config.target_psnr - 1e-4


def test_a_target_beyond_reach_ends_with_the_steps(clock):
    ran = drive(TARGETED, FakeTrainer(clock))
    assert (ran.outcome.stopped, ran.trainer.step) == ("steps", 20)


# Divergence


@pytest.mark.parametrize("name", MODES)
@pytest.mark.parametrize("bad_step", [1, 8, 20])
def test_a_diverged_fit_keeps_the_last_good_state(clock, name, bad_step):
    trainer, saved = FakeTrainer(clock, 0.2, bad_step=bad_step), []
    with pytest.raises(DivergedError) as caught:
        drive(MODES[name], trainer, saved)
    assert trainer.step < bad_step
    assert trainer.error == pytest.approx(0.5 * 0.9**trainer.step)
    at, state = saved[-1]
    assert at.step == trainer.step == state["step"]
    assert np.isfinite(state["error"])
    assert f"the state after step {trainer.step} is kept" in str(caught.value)
    assert "learning rate 0.125" in str(caught.value)
    assert "--learning-rate 0.0125" in caught.value.hint


def test_a_diverged_fit_says_where(clock):
    # A chunk of 1, then chunks of 50: the loss of step 30 is the first bad one.
    trainer = FakeTrainer(clock, 0.01, bad_step=30)
    with pytest.raises(DivergedError, match=r"not finite at step 30,.* step 1 is kept"):
        drive(WHOLE.replace(steps=100), trainer)


# Resuming


@pytest.mark.parametrize("name", MODES)
@pytest.mark.parametrize("at_step", [1, 5, 6, 11, 13, 19])
def test_a_resumed_loop_gives_the_rows_of_the_uninterrupted_one(clock, name, at_step):
    config = MODES[name]

    def without_seconds(rows):
        return [{**row, "seconds": None} for row in rows]

    whole = drive(config, FakeTrainer(clock))

    def interrupt(step):
        if step == at_step - 1:
            os.kill(os.getpid(), signal.SIGTERM)

    first = drive(config, FakeTrainer(clock, 10.0, during=interrupt))
    position, state = first.saved[-1]
    assert position.step == at_step
    again = FakeTrainer(clock)
    again.load_state(state)
    second = drive(config, again, position=dataclasses.replace(position))
    # What was logged after the last save is dropped, as the run folder does.
    kept = [row for row in first.rows if row["step"] <= position.last_row]
    rows = without_seconds(kept + second.rows)
    assert rows == without_seconds(whole.rows)
    assert second.outcome.stopped == "steps"
    assert again.error == whole.trainer.error


def test_resuming_a_fit_that_had_reached_its_target_changes_nothing(clock):
    config = WHOLE.replace(target_psnr=psnr_after(9.5))
    first = drive(config, FakeTrainer(clock))
    position, state = first.saved[-1]
    again = FakeTrainer(clock)
    again.load_state(state)
    second = drive(config, again, position=dataclasses.replace(position))
    assert (second.outcome.stopped, second.trainer.chunks) == ("target_psnr", [])
    # A higher one is worked for, as if it had been asked for at once.
    higher = config.replace(target_psnr=psnr_after(15.5))
    again.load_state(state)
    second = drive(higher, again, position=dataclasses.replace(position))
    assert (second.outcome.stopped, again.step) == ("target_psnr", 16)


@pytest.mark.parametrize("name", MODES)
def test_resuming_a_finished_fit_logs_its_last_row_again(clock, name):
    first = drive(MODES[name], FakeTrainer(clock))
    position, state = first.saved[-1]
    again = FakeTrainer(clock)
    again.load_state(state)
    second = drive(MODES[name], again, position=dataclasses.replace(position))
    assert (second.outcome.stopped, again.chunks) == ("steps", [])
    assert second.rows == first.rows[-1:]


def test_an_evaluation_of_older_parameters_reaches_no_target(clock):
    # Evaluated after step 6, saved after step 7: the target waits for step 11.
    trainer = FakeTrainer(clock)
    trainer.advance(7)
    position = Position(7, 1.0, last_row=6, num_rows=2, mse_sum=0.1, last_mse=1e-9)
    config = WHOLE.replace(target_psnr=psnr_after(9.5))
    ran = drive(config, trainer, position=position)
    assert (ran.outcome.stopped, trainer.step) == ("target_psnr", 11)


# Signals


@pytest.mark.parametrize("number", HANDLED)
def test_a_signal_ends_the_fit_after_its_chunk_and_saves(clock, number):
    before = {n: signal.getsignal(n) for n in HANDLED}

    def during(step):
        if step == 7:
            os.kill(os.getpid(), number)

    # Chunks of 1, 4 and 4 steps: the signal comes in the third.
    ran = drive(BATCH.replace(eval_every=100), FakeTrainer(clock, during=during))
    assert ran.outcome.stopped == number.name and ran.outcome.interrupted
    assert ran.trainer.step == 9 == ran.saved[-1][0].step
    # The evaluation after the last step is for fits that have ended.
    assert [row["step"] for row in ran.rows] == [1]
    assert {n: signal.getsignal(n) for n in HANDLED} == before


def test_a_signal_before_the_first_step_takes_none(clock):
    trainer, saved = FakeTrainer(clock), []
    with SignalGuard() as guard:
        os.kill(os.getpid(), signal.SIGINT)
        outcome = run(trainer, WHOLE, TARGET, guard, save=saved.append)
    assert (outcome.stopped, trainer.chunks, len(saved)) == ("SIGINT", [], 1)


@pytest.mark.parametrize(
    ("last", "config", "stopped"),
    [
        (11, WHOLE.replace(target_psnr=psnr_after(9.5)), "target_psnr"),
        (20, WHOLE, "steps"),
    ],
)
def test_a_signal_in_the_last_chunk_leaves_a_finished_fit(clock, last, config, stopped):
    def during(step):
        if step == last - 1:
            os.kill(os.getpid(), signal.SIGINT)

    ran = drive(config, FakeTrainer(clock, 10.0, during=during))
    assert (ran.outcome.stopped, ran.trainer.step) == (stopped, last)
    assert not ran.outcome.interrupted and ran.rows[-1]["step"] == last


def test_the_second_signal_meets_the_systems_default():
    with SignalGuard() as guard:
        assert guard.received is None
        os.kill(os.getpid(), signal.SIGTERM)
        assert guard.received is signal.SIGTERM
        assert {signal.getsignal(n) for n in HANDLED} == {signal.SIG_DFL}


def test_handlers_come_back_also_after_an_error():
    def mine(number, frame):
        raise AssertionError

    old = signal.signal(signal.SIGTERM, mine)
    try:
        with pytest.raises(ZeroDivisionError), SignalGuard():
            os.kill(os.getpid(), signal.SIGINT)
            _ = 1 / 0
        assert signal.getsignal(signal.SIGTERM) is mine
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGTERM, old)


def test_a_signal_that_is_ignored_stays_ignored():
    old = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with SignalGuard() as guard:
            os.kill(os.getpid(), signal.SIGHUP)
            assert guard.received is None
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, old)


def test_outside_the_main_thread_a_fit_runs_without_handlers(clock):
    before = {n: signal.getsignal(n) for n in HANDLED}
    found = []

    def fit():
        with SignalGuard():
            found.append({n: signal.getsignal(n) for n in HANDLED} == before)
        found.append(drive(WHOLE, FakeTrainer(clock)).outcome.stopped)

    thread = threading.Thread(target=fit)
    thread.start()
    thread.join()
    assert found == [True, "steps"]
