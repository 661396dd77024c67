"""The host loop, driven by a trainer whose every number is known in closed form."""

import dataclasses
import functools
import math
from typing import Any

import numpy as np
import pytest

from jax_inr import loop
from jax_inr.lanes import Lane, Position, Recorder, Rules
from jax_inr.loop import run

TARGET = np.full((4, 5, 3), 0.25, np.float32)
# The loss of a step is the evaluation before it; or not; or a target is looked for.
WHOLE = Rules(20, 5, losses_evaluate=True)
BATCH = Rules(20, 5)
TARGETED = Rules(20, 5, target_psnr=900.0)
MODES = {"whole": WHOLE, "batch": BATCH, "targeted": TARGETED}
ENDLESS = 10**6


def changed(rules, **fields):
    return dataclasses.replace(rules, **fields)


def mse_after(steps):
    """The squared error of the fake trainer's parameters after some steps."""
    return (0.5 * 0.9**steps) ** 2


def psnr_after(steps):
    return -10 * math.log10(mse_after(steps))


class Clock:
    """Stands for the `time` module; stands still but where it is told to move."""

    def __init__(self):
        self.now, self.cpu = 1000.0, 0.0

    def perf_counter(self):
        return self.now

    def process_time(self):
        return self.cpu

    monotonic = perf_counter

    def work(self, seconds):
        self.now += seconds
        self.cpu += seconds


class FakeTrainer:
    """Errors fall by a tenth a step; a step of all lanes takes `step_seconds`."""

    device = "fake"
    max_chunk_steps = 4096

    def __init__(self, clock, step_seconds=0.125, bad_step=None, during=None, count=1):
        self.count = count
        self.error, self.steps = [0.5] * count, [0] * count
        self.before = list(self.error), list(self.steps)
        self.chunks, self.actives, self.evaluated = [], [], []
        self.nan_after = {}  # by lane, the steps after which an evaluation is NaN
        self._clock, self._step_seconds = clock, step_seconds
        self._bad_step = bad_step  # of the last lane: its state is not finite after it
        self._during = during or (lambda step: None)

    def compile(self):
        raise AssertionError("the caller compiles")

    def advance(self, num_steps, active):
        assert num_steps >= 1 and any(active)
        before = list(self.error), list(self.steps)
        self.before = before
        self.chunks.append(num_steps)
        self.actives.append(tuple(active))
        losses = np.zeros((self.count, num_steps), np.float32)
        good = np.ones(self.count, bool)
        error, steps = list(self.error), list(self.steps)
        for i in range(num_steps):
            self._during(max(steps))
            for lane in np.flatnonzero(active):
                losses[lane, i] = error[lane] ** 2
                error[lane] *= 0.9
                steps[lane] += 1
                if steps[lane] == self._bad_step and lane == self.count - 1:
                    error[lane], good[lane] = math.nan, False
            self._clock.work(self._step_seconds)
        for lane in np.flatnonzero(good):
            self.error[lane], self.steps[lane] = error[lane], steps[lane]
        return losses, good

    def rollback(self, lane):
        self.error[lane], self.steps[lane] = (values[lane] for values in self.before)

    def learning_rate(self, lane, step):
        return 0.125

    def evaluate(self, lane):
        self.evaluated.append((lane, self.steps[lane]))
        if self.steps[lane] == self.nan_after.get(lane):
            return math.nan
        return self.error[lane] ** 2

    def predict(self, lane):
        return TARGET + np.float32(self.error[lane])

    def parameters(self, lane):
        return {}

    def state(self, lane):
        return {"error": np.array(self.error[lane]), "step": np.array(self.steps[lane])}

    def load_state(self, lane, tensors):
        self.error[lane] = float(tensors["error"])
        self.steps[lane] = int(tensors["step"])


class Memory(Recorder):
    """Keeps what the loop tells."""

    def __init__(self, frames=()):
        self.rows, self.saved, self.frames = [], [], {}
        self._frames = frames

    def next_frame(self, step):
        return min((f for f in self._frames if f > step), default=math.inf)

    def row(self, row):
        self.rows.append(row)

    def frame(self, step, prediction):
        self.frames[step] = prediction

    def save(self, position, state):
        self.saved.append((dataclasses.replace(position), state))


class Full(Memory):
    """A disk that is full from some step on."""

    def __init__(self, step):
        super().__init__()
        self._step = step

    def row(self, row):
        if row["step"] >= self._step:
            raise OSError(28, "No space left on device")
        super().row(row)


@pytest.fixture
def clock(monkeypatch):
    fake = Clock()
    monkeypatch.setattr(loop, "time", fake)
    return fake


def drive(rules, trainer, position=None, **kwargs):
    """The lane of one fit after the loop."""
    lane: Any = Lane(rules, Memory(), position or Position())
    run(trainer, [lane], **kwargs)
    assert lane.recorder.rows == lane.rows
    return lane


def at_step(step, name="SIGTERM"):
    """A `during` and a `stop` of a signal that comes amid the step after so many."""
    asked = []

    def during(now):
        if now == step:
            asked.append(name)

    return during, lambda: asked[0] if asked else ""


def without_seconds(rows):
    return [{**row, "seconds": None} for row in rows]


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
    trainer = FakeTrainer(clock)
    lane = drive(changed(MODES[name], steps=steps, eval_every=every), trainer)
    assert [row["step"] for row in lane.rows] == expected
    assert trainer.steps == [steps] and lane.position.step == steps
    assert (lane.stopped, lane.is_interrupted, lane.error) == ("steps", False, None)
    for row in lane.rows:
        assert row["psnr_db"] == pytest.approx(psnr_after(row["step"]), rel=1e-5)


@pytest.mark.parametrize("name", MODES)
def test_the_pooled_psnr_averages_the_errors_of_all_evaluations(clock, name):
    rows = drive(MODES[name], FakeTrainer(clock)).rows
    for n, row in enumerate(rows, 1):
        pooled = np.mean([mse_after(earlier["step"]) for earlier in rows[:n]])
        expected = pytest.approx(-10 * math.log10(pooled), rel=1e-5)
        assert row["pooled_psnr_db"] == expected


def test_the_loss_of_a_row_is_the_last_that_was_seen(clock):
    # All measurements: the next step's loss, which is the evaluation's own.
    whole = drive(WHOLE, FakeTrainer(clock)).rows[:-1]
    assert [r["loss"] for r in whole] == pytest.approx(
        [mse_after(r["step"]) for r in whole], rel=1e-6
    )
    # Mini-batches: the loss of the step before, which was on other measurements.
    batch = drive(BATCH, FakeTrainer(clock)).rows
    assert [r["loss"] for r in batch] == pytest.approx(
        [mse_after(r["step"] - 1) for r in batch], rel=1e-6
    )


def test_losses_that_evaluate_spare_the_second_forward_pass(clock):
    trainer = FakeTrainer(clock)
    drive(WHOLE, trainer)
    assert trainer.evaluated == [(0, 20)]
    # Mini-batches: before the first step and at each of five evaluations.
    trainer = FakeTrainer(clock)
    drive(BATCH, trainer)
    assert [step for _, step in trainer.evaluated] == [0, 1, 6, 11, 16, 20]


@pytest.mark.parametrize("name", MODES)
def test_the_error_before_the_first_step_is_kept(clock, name):
    lane = drive(MODES[name], FakeTrainer(clock))
    assert lane.position.first_mse == pytest.approx(mse_after(0), rel=1e-5)
    # Also where the fit goes on from a later step.
    position, state = lane.recorder.saved[-1]
    again = FakeTrainer(clock)
    again.load_state(0, state)
    lane = drive(changed(MODES[name], steps=30), again, position)
    whole = drive(changed(MODES[name], steps=30), FakeTrainer(clock))
    # An evaluation at the end of fewer steps is none of more steps.
    assert lane.rows[-3:] == [
        {**r, "seconds": s["seconds"]}
        for r, s in zip(whole.rows[-3:], lane.rows[-3:], strict=True)
    ]
    more = lane.position
    assert more.first_mse == pytest.approx(mse_after(0), rel=1e-5)
    assert more.last_mse == pytest.approx(mse_after(30), rel=1e-4)


def test_no_steps_leave_the_fit_as_it_was(clock):
    trainer = FakeTrainer(clock)
    lane = drive(changed(WHOLE, steps=0), trainer)
    assert (lane.rows, trainer.chunks, lane.stopped) == ([], [], "steps")


# The clock decides chunk lengths, saves and max_seconds, and nothing else


@pytest.mark.parametrize("name", MODES)
def test_the_clock_changes_no_number(clock, name):
    def rows(step_seconds):
        trainer = FakeTrainer(clock, step_seconds)
        lane = drive(changed(MODES[name], steps=150), trainer)
        return without_seconds(lane.rows), trainer.chunks

    slow, fast = rows(10.0), rows(1e-5)
    assert slow[0] == fast[0] and slow[1] != fast[1]


def test_chunks_take_about_half_a_second(clock):
    trainer = FakeTrainer(clock, 0.01)
    drive(changed(WHOLE, steps=1000, eval_every=1000), trainer)
    assert trainer.chunks[:3] == [1, 50, 50] and sum(trainer.chunks) == 1000
    quick = FakeTrainer(clock, 1e-6)
    drive(changed(WHOLE, steps=10_000, eval_every=10_000), quick)
    assert quick.chunks == [1, quick.max_chunk_steps, quick.max_chunk_steps, 1807]


@pytest.mark.parametrize("rules", [WHOLE, BATCH], ids=["whole", "batch"])
def test_max_seconds_ends_after_the_chunk_that_reaches_it(clock, rules):
    trainer = FakeTrainer(clock)
    lane = drive(changed(rules, steps=1000, eval_every=1000, max_seconds=1.05), trainer)
    # Chunks of 1, 4, 4 steps end at 0.125, 0.625 and 1.125 seconds.
    assert (lane.stopped, trainer.steps) == ("max_seconds", [9])
    assert lane.position.seconds == 1.125 and lane.rows[-1]["step"] == 9


def test_seconds_count_on_over_sessions(clock):
    trainer = FakeTrainer(clock)
    rules = changed(WHOLE, steps=1000, max_seconds=1.05)
    drive(rules, trainer, Position(step=0, seconds=1.0))
    assert trainer.steps == [1]


def test_a_process_that_was_stopped_has_not_worked(clock):
    """SIGSTOP for an hour amid a chunk: the wall's time passes, the processor's not."""

    def during(step):
        if step == 7:
            clock.now += 3600

    trainer = FakeTrainer(clock, during=during)
    rules = changed(WHOLE, steps=100, eval_every=1000, max_seconds=60.0)
    lane = drive(rules, trainer)
    assert (lane.stopped, lane.position.seconds) == ("steps", 12.5)

    # Work that takes as long counts.
    def work(step):
        if step == 7:
            clock.work(3600)

    lane = drive(rules, FakeTrainer(clock, during=work))
    assert lane.stopped == "max_seconds" and lane.position.seconds > 3600


def test_a_process_that_was_stopped_amid_an_evaluation_has_not_worked(
    clock, monkeypatch
):
    trainer = FakeTrainer(clock)
    inner, calls = trainer.evaluate, []

    def paused_once(lane):
        clock.work(1.0)
        calls.append(lane)
        if len(calls) == 3:
            clock.now += 3600
        return inner(lane)

    monkeypatch.setattr(trainer, "evaluate", paused_once)
    rules = changed(BATCH, steps=40, eval_every=10, max_seconds=60.0)
    lane = drive(rules, trainer)
    assert (lane.stopped, lane.position.seconds) == ("steps", 40 * 0.125 + 4.0)


def test_seconds_of_evaluations_count(clock, monkeypatch):
    trainer = FakeTrainer(clock)
    inner = trainer.evaluate

    def slow(lane):
        clock.work(100)
        return inner(lane)

    monkeypatch.setattr(trainer, "evaluate", slow)
    assert drive(changed(BATCH, steps=1), trainer).rows[0]["seconds"] == 100.125


def test_saves_follow_the_clock_and_the_end(clock):
    rules = changed(WHOLE, steps=100, eval_every=100)
    often = drive(rules, FakeTrainer(clock), save_every_seconds=1.0).recorder.saved
    steps = [at.step for at, _ in often]
    # 12.5 seconds, in chunks of half a second.
    assert steps[-1] == 100 and 12 <= len(steps) <= 13
    for at, state in often:
        assert state["step"] == at.step
        assert state["error"] == pytest.approx(0.5 * 0.9**at.step)
    seldom = drive(rules, FakeTrainer(clock), save_every_seconds=1e9).recorder.saved
    assert [at.step for at, _ in seldom] == [100]


def test_progress_is_told_after_each_chunk(clock):
    told, trainer = [], FakeTrainer(clock)
    drive(BATCH, trainer, on_progress=told.append)
    assert [p.step for p in told] == np.cumsum(trainer.chunks).tolist()
    last = told[-1]
    assert (last.steps, last.steps_per_second) == (20, 8)
    assert last.loss == pytest.approx(mse_after(19), rel=1e-6)
    # The running loss beside the evaluation, each of its own step.
    assert last.loss_psnr_db == pytest.approx(psnr_after(19), rel=1e-5)
    assert last.psnr_db == pytest.approx(psnr_after(last.evaluated_step), rel=1e-5)
    assert last.evaluated_step in (16, 20)


def test_frames_are_of_their_steps_and_of_the_last(clock):
    lane: Any = Lane(BATCH, Memory(frames=(0, 3, 8, 20, ENDLESS)))
    run(FakeTrainer(clock), [lane])
    # Step 0 comes first: `next_frame(0)` names the next, so the start is always drawn.
    assert [*lane.recorder.frames] == [0, 3, 8, 20]
    for step, frame in lane.recorder.frames.items():
        np.testing.assert_allclose(frame, TARGET + 0.5 * 0.9**step, rtol=1e-6)


# target_psnr


@pytest.mark.parametrize("step_seconds", [1e-5, 0.03, 10.0])
def test_the_first_look_with_the_target_ends_the_fit(clock, step_seconds):
    rules = changed(BATCH, target_psnr=psnr_after(9.5))
    trainer = FakeTrainer(clock, step_seconds)
    lane = drive(rules, trainer)
    assert (lane.stopped, trainer.steps) == ("target_psnr", [10])
    assert not lane.is_interrupted
    # Looks between the evaluations leave no row but that of the end.
    assert [row["step"] for row in lane.rows] == [1, 6, 10]
    assert lane.rows[-1]["psnr_db"] >= rules.target_psnr > lane.rows[-2]["psnr_db"]
    # The parameters kept are those that were measured.
    position, state = lane.recorder.saved[-1]
    assert position.step == 10 == state["step"]
    assert -10 * np.log10(state["error"] ** 2) >= rules.target_psnr


@pytest.mark.parametrize("steps", [7, 49, 50, 99, 100, 2000, 12_345])
def test_a_target_is_looked_for_at_least_fifty_times(clock, steps):
    trainer, looks = FakeTrainer(clock, 1e-6), []

    def never_good_enough(lane):
        looks.append(trainer.steps[lane])
        return 0.5

    trainer.evaluate = never_good_enough
    drive(Rules(steps, 10**9, target_psnr=900.0), trainer)
    assert len({*looks} - {0}) >= min(steps, 50)
    assert len(looks) <= 110 and max(looks) == steps


def test_a_target_beyond_reach_ends_with_the_steps(clock):
    trainer = FakeTrainer(clock)
    lane = drive(TARGETED, trainer)
    assert (lane.stopped, trainer.steps) == ("steps", [20])


# Divergence


@pytest.mark.parametrize("name", MODES)
@pytest.mark.parametrize("bad_step", [1, 8, 20])
def test_a_diverged_fit_keeps_the_last_good_state(clock, name, bad_step):
    trainer = FakeTrainer(clock, 0.2, bad_step=bad_step)
    lane = drive(MODES[name], trainer)
    (step,) = trainer.steps
    assert lane.stopped == "diverged" and lane.diverged[1] == 0.125
    assert step < bad_step and trainer.error[0] == pytest.approx(0.5 * 0.9**step)
    position, state = lane.recorder.saved[-1]
    assert position.step == step == state["step"] == lane.position.step
    assert np.isfinite(state["error"])


def test_a_diverged_fit_says_where(clock, monkeypatch):
    trainer = FakeTrainer(clock, 0.01)
    advance = trainer.advance

    def bad(num_steps, active):
        losses, good = advance(num_steps, active)
        first = trainer.before[1][0]
        losses[0, np.arange(first, first + num_steps) >= 30] = np.nan
        return losses, good

    monkeypatch.setattr(trainer, "advance", bad)
    # A chunk of 1, then one of 50: the loss of step 30 is the first bad one.
    lane = drive(changed(WHOLE, steps=100, eval_every=1000), trainer)
    assert lane.diverged == (30, 0.125)
    assert lane.position.step == 1 == trainer.steps[0]


@pytest.mark.parametrize("rules", [BATCH, TARGETED], ids=["batch", "targeted"])
@pytest.mark.parametrize("step", [0, 6, 20])
def test_an_evaluation_that_is_not_a_number_is_a_divergence(clock, rules, step):
    """Its parameters may be finite: it has not reached its target, nor any end."""
    trainer = FakeTrainer(clock, 10.0)
    trainer.nan_after = {0: step}
    lane = drive(changed(rules, target_psnr=rules.target_psnr and 20.0), trainer)
    if rules.target_psnr and step > 10:
        assert lane.stopped == "target_psnr"
        return
    assert lane.stopped == "diverged" and lane.diverged[0] == step
    assert all(np.isfinite(row["psnr_db"]) for row in lane.rows)
    # What is kept was measured before, where there was a before.
    assert trainer.steps[0] == max(step - 1, 0) == lane.position.step
    assert lane.recorder.saved[-1][0].step == max(step - 1, 0)


def test_the_last_evaluation_of_whole_losses_is_looked_at_too(clock):
    trainer = FakeTrainer(clock)
    trainer.nan_after = {0: 20}
    lane = drive(WHOLE, trainer)
    assert lane.stopped == "diverged" and lane.position.step < 20


# Resuming


@pytest.mark.parametrize("name", MODES)
@pytest.mark.parametrize("step", [1, 5, 6, 11, 13, 19])
def test_a_resumed_loop_gives_the_rows_of_the_uninterrupted_one(clock, name, step):
    rules, trainer = MODES[name], FakeTrainer(clock)
    whole = drive(rules, trainer)
    during, stop = at_step(step - 1)
    first = drive(rules, FakeTrainer(clock, 10.0, during=during), stop=stop)
    position, state = first.recorder.saved[-1]
    assert position.step == step and first.is_interrupted
    again = FakeTrainer(clock)
    again.load_state(0, state)
    second = drive(rules, again, dataclasses.replace(position))
    # What was logged after the last save is dropped, as the run folder does.
    kept = [row for row in first.rows if row["step"] <= position.last_row]
    assert without_seconds(kept + second.rows) == without_seconds(whole.rows)
    assert second.stopped == "steps" and again.error == trainer.error


def test_resuming_a_fit_that_had_reached_its_target_changes_nothing(clock):
    rules = changed(BATCH, target_psnr=psnr_after(9.5))
    position, state = drive(rules, FakeTrainer(clock)).recorder.saved[-1]
    again = FakeTrainer(clock)
    again.load_state(0, state)
    second = drive(rules, again, dataclasses.replace(position))
    assert (second.stopped, again.chunks) == ("target_psnr", [])
    # A higher one is worked for, as if it had been asked for at once.
    higher = changed(rules, target_psnr=psnr_after(15.5))
    again.load_state(0, state)
    second = drive(higher, again, dataclasses.replace(position))
    assert (second.stopped, again.steps) == ("target_psnr", [16])


@pytest.mark.parametrize("name", MODES)
def test_resuming_a_finished_fit_logs_its_last_row_again(clock, name):
    first = drive(MODES[name], FakeTrainer(clock))
    position, state = first.recorder.saved[-1]
    again = FakeTrainer(clock)
    again.load_state(0, state)
    second = drive(MODES[name], again, dataclasses.replace(position))
    assert (second.stopped, again.chunks) == ("steps", [])
    assert second.rows == first.rows[-1:]


def test_an_evaluation_of_older_parameters_reaches_no_target(clock):
    # Evaluated after step 6, saved after step 7: the target waits for step 10.
    trainer = FakeTrainer(clock)
    trainer.advance(7, [True])
    position = Position(7, 1.0, last_row=6, num_rows=2, mse_sum=0.1, last_mse=1e-9)
    lane = drive(changed(BATCH, target_psnr=psnr_after(9.5)), trainer, position)
    assert (lane.stopped, trainer.steps) == ("target_psnr", [10])


# Signals and interrupts


def test_a_signal_ends_the_fit_after_its_chunk_and_saves(clock):
    # Chunks of 1, 4 and 4 steps: the signal comes in the third.
    during, stop = at_step(7, "SIGUSR1")
    trainer = FakeTrainer(clock, during=during)
    lane = drive(changed(BATCH, eval_every=100), trainer, stop=stop)
    assert lane.stopped == "SIGUSR1" and lane.is_interrupted
    assert trainer.steps == [9] and lane.recorder.saved[-1][0].step == 9
    # The evaluation after the last step is for fits that have ended.
    assert [row["step"] for row in lane.rows] == [1]


def test_a_signal_before_the_first_step_takes_none(clock):
    trainer = FakeTrainer(clock)
    lane = drive(WHOLE, trainer, stop=lambda: "SIGINT")
    assert (lane.stopped, trainer.chunks) == ("SIGINT", [])
    assert [at.step for at, _ in lane.recorder.saved] == [0]


@pytest.mark.parametrize(
    ("last", "rules", "stopped"),
    [
        (10, changed(BATCH, target_psnr=psnr_after(9.5)), "target_psnr"),
        (20, WHOLE, "steps"),
    ],
)
def test_a_signal_in_the_last_chunk_leaves_a_finished_fit(clock, last, rules, stopped):
    during, stop = at_step(last - 1)
    trainer = FakeTrainer(clock, 10.0, during=during)
    lane = drive(rules, trainer, stop=stop)
    assert (lane.stopped, trainer.steps) == (stopped, [last])
    assert not lane.is_interrupted and lane.rows[-1]["step"] == last


@pytest.mark.parametrize("name", MODES)
@pytest.mark.parametrize("where", ["steps", "progress", "evaluation", "row"])
def test_a_keyboard_interrupt_anywhere_leaves_a_state_to_go_on_from(
    clock, monkeypatch, name, where
):
    """State and position agree, and going on gives the uninterrupted numbers."""
    rules = changed(MODES[name], eval_every=3)
    whole_trainer = FakeTrainer(clock)
    whole = drive(rules, whole_trainer)
    for call in range(1, 7):
        trainer: Any = FakeTrainer(clock)
        lane: Any = Lane(rules, Memory())
        calls = []

        def interrupt(*_, calls=calls, call=call):
            calls.append(0)
            if len(calls) == call:
                raise KeyboardInterrupt

        def before(function, interrupt=interrupt):
            @functools.wraps(function)
            def wrapped(*arguments):
                interrupt()
                return function(*arguments)

            return wrapped

        on_progress = lambda progress: None  # noqa: E731
        if where == "steps":
            trainer._during = interrupt
        elif where == "progress":
            on_progress = interrupt
        elif where == "evaluation":
            trainer.evaluate = before(trainer.evaluate)
        else:
            lane.recorder.row = before(lane.recorder.row)
        run(trainer, [lane], on_progress=on_progress)
        if not lane.is_interrupted:
            assert len(calls) < call or lane.stopped == "steps"
            continue
        position, state = lane.recorder.saved[-1]
        assert state["step"] == position.step == trainer.steps[0]
        again = FakeTrainer(clock)
        again.load_state(0, state)
        second = drive(rules, again, dataclasses.replace(position))
        kept = [row for row in lane.rows if row["step"] <= position.last_row]
        rows = without_seconds(kept + second.rows)
        assert rows == without_seconds(whole.rows), call
        assert again.error == whole_trainer.error


# Many lanes


def many(rules, trainer, recorders=None, **kwargs):
    recorders = recorders or [Memory() for _ in rules]
    lanes: Any = [Lane(*pair) for pair in zip(rules, recorders, strict=True)]
    run(trainer, lanes, **kwargs)
    return lanes


def test_lanes_of_many_rules_are_each_as_if_alone(clock):
    rules = [
        *(WHOLE, BATCH, changed(BATCH, target_psnr=psnr_after(6.5))),
        *(
            changed(WHOLE, steps=7),
            changed(BATCH, eval_every=2),
            changed(BATCH, steps=0),
        ),
    ]
    together = many(rules, FakeTrainer(clock, count=len(rules)))
    for one, lane in zip(rules, together, strict=True):
        alone = drive(one, FakeTrainer(clock))
        assert without_seconds(lane.rows) == without_seconds(alone.rows)
        assert (lane.stopped, lane.position.step) == (
            alone.stopped,
            alone.position.step,
        )


def test_a_lane_that_has_stopped_costs_no_step_more(clock):
    rules = [
        changed(BATCH, target_psnr=psnr_after(4.5)),
        BATCH,
        changed(BATCH, steps=9),
    ]
    trainer = FakeTrainer(clock, count=3)
    lanes = many(rules, trainer)
    assert [lane.stopped for lane in lanes] == ["target_psnr", "steps", "steps"]
    taken = np.array(trainer.actives).T @ trainer.chunks
    assert taken.tolist() == [5, 20, 9] == trainer.steps


def test_max_seconds_is_each_lane_s_own(clock):
    slow = changed(BATCH, steps=1000, eval_every=1000)
    rules = [changed(slow, max_seconds=1.05), changed(slow, max_seconds=2.05)]
    lanes = many(rules, FakeTrainer(clock, count=2))
    assert [lane.stopped for lane in lanes] == ["max_seconds"] * 2
    assert lanes[0].position.seconds < 1.5 < 2 < lanes[1].position.seconds < 2.8


def test_lanes_behind_advance_first(clock):
    trainer = FakeTrainer(clock, count=2)
    trainer.load_state(1, {"error": 0.5 * 0.9**11, "step": 11})
    lanes: Any = [
        Lane(BATCH, Memory()),
        Lane(BATCH, Memory(), Position(11, last_row=11)),
    ]
    run(trainer, lanes)
    behind = int((np.cumsum(trainer.chunks) <= 11).sum())
    assert {*trainer.actives[:behind]} == {(True, False)}
    assert {*trainer.actives[behind:]} == {(True, True)}
    assert trainer.steps == [20, 20]
    assert [row["step"] for row in lanes[1].rows] == [16, 20]


def test_a_lane_that_diverges_stops_no_other(clock):
    trainer = FakeTrainer(clock, bad_step=8, count=2)
    good, bad = many([BATCH, BATCH], trainer)
    assert (good.stopped, bad.stopped) == ("steps", "diverged")
    assert without_seconds(good.rows) == without_seconds(
        drive(BATCH, FakeTrainer(clock)).rows
    )
    assert trainer.steps[1] < 8


def test_an_evaluation_that_is_not_a_number_rolls_back_its_lane_alone(clock):
    trainer = FakeTrainer(clock, 10.0, count=2)
    trainer.nan_after = {1: 11}
    good, bad = many([BATCH, BATCH], trainer)
    assert (good.stopped, bad.stopped) == ("steps", "diverged")
    assert trainer.steps == [20, 10] and good.position.step == 20


def test_what_goes_wrong_in_one_recorder_is_that_fit_s_failure(clock):
    """A full disk, a bug: the other fits go on to their ends."""
    trainer = FakeTrainer(clock, count=3)
    recorders = [Memory(), Full(6), Memory()]
    lanes = many([BATCH] * 3, trainer, recorders)
    assert [lane.stopped for lane in lanes] == ["steps", "failed", "steps"]
    assert isinstance(lanes[1].error, OSError) and not lanes[0].error
    assert trainer.steps[1] < 20


def test_a_signal_stops_all_lanes_and_saves_each(clock):
    during, stop = at_step(7)
    trainer = FakeTrainer(clock, during=during, count=2)
    lanes = many([changed(BATCH, steps=3), BATCH], trainer, stop=stop)
    assert [lane.stopped for lane in lanes] == ["steps", "SIGTERM"]
    for lane, step in zip(lanes, trainer.steps, strict=True):
        position, state = lane.recorder.saved[-1]
        assert position.step == step == state["step"]


def test_an_interrupt_undoes_no_lane_that_has_ended(clock):
    """Lane 0 ends in the chunk after which the interrupt comes; lane 1 goes on."""
    trainer = FakeTrainer(clock, 10.0, count=2)
    lanes: Any = [Lane(changed(BATCH, steps=3), Memory()), Lane(BATCH, Memory())]

    def row(row, inner=lanes[1].recorder.row):
        if row["step"] == 6:
            raise KeyboardInterrupt
        inner(row)

    lanes[1].recorder.row = row
    run(trainer, lanes)
    assert (lanes[0].stopped, trainer.steps[0]) == ("steps", 3)
    assert lanes[1].is_interrupted and trainer.steps[1] == 5 == lanes[1].position.step
