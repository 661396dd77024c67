"""The host loop of k >= 1 fits: chunks, evaluations, saves and stopping rules.

Framework-free: it drives a `Trainer` of either back end and tells each fit's Recorder
what happens. Chunk lengths and checkpoints follow the clock; the numbers follow the
seed and the config alone.
"""

import dataclasses
import math
import time
from collections.abc import Callable, Sequence

import numpy as np

from jax_inr.lanes import Lane, Position, Progress, Trainer, failing
from jax_inr.metrics import psnr_from_mse

CHUNK_SECONDS = 0.5  # a signal is answered after about this long


def run(
    trainer: Trainer,
    lanes: Sequence[Lane],
    *,
    stop: Callable[[], str] = lambda: "",
    on_progress: Callable[[Progress], None] = lambda progress: None,
    save_every_seconds: float = 30.0,
) -> None:
    """Drive a compiled trainer from where it stands to the end of every fit.

    Evaluations fall after steps 1, 1 + eval_every, 1 + 2 eval_every, … as in the
    notebook, and after the last. With all measurements in every step the next step's
    loss is the evaluation, and costs nothing. Fits behind the others advance first, so
    that all go on together; a fit that has stopped costs nothing any more.

    Args:
        lanes: one for each fit; a fit's outcome is written into its lane.
        stop: gives the name of a signal that asks for the end, or nothing. A
            KeyboardInterrupt does the same, as "SIGINT".
    """
    loop = _Loop(trainer, lanes, on_progress)
    saved_at = time.monotonic()
    try:
        loop.begin()
        while loop.running():
            if name := stop():
                loop.interrupt(name)
                break
            if time.monotonic() - saved_at >= save_every_seconds:
                loop.save(loop.running())
                saved_at = time.monotonic()
                # What cannot be saved has ended.
                if not loop.running():
                    break
            loop.advance()
    except KeyboardInterrupt:
        loop.undo()
        loop.interrupt("SIGINT")


class _Watch:
    """The time since it was made, pauses of the process left out."""

    def __init__(self) -> None:
        self._start, self._cpu_start = time.perf_counter(), time.process_time()

    def worked(self, expected_seconds: float | None) -> float:
        """The seconds of work; the expected ones where the process was paused.

        Work that took much longer than expected while processor time did not grow with
        it is a stopped process (SIGSTOP, a closed laptop).
        """
        elapsed = time.perf_counter() - self._start
        cpu_seconds = time.process_time() - self._cpu_start
        if expected_seconds is None:
            return elapsed
        is_paused = elapsed > 2 * expected_seconds + 0.5 and cpu_seconds < 0.2 * elapsed
        return expected_seconds if is_paused else elapsed


class _Loop:
    """The loop's own numbers between two chunks."""

    def __init__(
        self,
        trainer: Trainer,
        lanes: Sequence[Lane],
        on_progress: Callable[[Progress], None],
    ) -> None:
        self.trainer, self.lanes, self.on_progress = trainer, lanes, on_progress
        self.rate: float | None = None  # steps a second of the last chunk
        self.evaluation_seconds: float | None = None  # of the last evaluation
        self.chunk_steps = 1
        self.before: list[tuple[Position, int]] = []

    def running(self) -> list[int]:
        """The lanes that have not stopped."""
        return [i for i, lane in enumerate(self.lanes) if not lane.stopped]

    def begin(self) -> None:
        """Read the trainer's steps; evaluate fits that have taken none."""
        steps = self.trainer.steps
        for index in self.running():
            lane = self.lanes[index]
            lane.position.step = steps[index]
            with failing(lane):
                if steps[index] == 0 and not lane.rules.losses_evaluate:
                    first_mse = self.trainer.evaluate(index)
                    if not math.isfinite(first_mse):
                        self.diverge(index, 0)
                        continue
                    lane.position.first_mse = first_mse
                if steps[index] == 0 and lane.recorder.next_frame(0) < math.inf:
                    lane.recorder.frame(0, self.trainer.predict(index))
            self.finish(index)

    def advance(self) -> None:
        """Take a chunk of steps of the fits that are farthest behind."""
        lanes, trainer = self.lanes, self.trainer
        self.before = [
            (dataclasses.replace(lane.position), len(lane.rows)) for lane in lanes
        ]
        step = min(lanes[i].position.step for i in self.running())
        front = [i for i in self.running() if lanes[i].position.step == step]
        num_steps = self.next_stop(step, front) - step
        active = [i in front for i in range(trainer.count)]
        watch = _Watch()
        losses, good = trainer.advance(num_steps, active)
        seconds = watch.worked(None if self.rate is None else num_steps / self.rate)
        for index in front:
            lane = lanes[index]
            if not good[index] or not np.isfinite(losses[index]).all():
                bad = np.flatnonzero(~np.isfinite(losses[index]))
                self.diverge(index, step + int(bad[0] if len(bad) else num_steps - 1))
                continue
            position = lane.position
            position.seconds += seconds
            position.step, position.loss = step + num_steps, float(losses[index, -1])
            with failing(lane):
                self.evaluate(index, step, losses[index])
        # A chunk is cut short by an evaluation, and its rate is a poor guess then.
        self.rate = num_steps / max(seconds, 1e-9)
        limit = trainer.max_chunk_steps
        self.chunk_steps = int(min(max(self.rate * CHUNK_SECONDS, 1), limit))
        self.report(front)
        for index in front:
            self.finish(index)

    def next_stop(self, step: int, front: list[int]) -> int:
        """The step before which no fit needs an evaluation, a frame or its end."""
        ends: list[float] = [step + self.chunk_steps]
        ends += [self.lanes[i].position.step for i in self.running() if i not in front]
        for index in front:
            lane = self.lanes[index]
            ends.append(lane.rules.steps)
            if not lane.rules.losses_evaluate:
                ends.append(lane.rules.next_due(step))
            ends.append(lane.recorder.next_frame(step))
        return int(min(ends))

    def evaluate(self, index: int, step: int, losses: np.ndarray) -> None:
        """Record the evaluations of a chunk that began after `step` steps."""
        lane, trainer = self.lanes[index], self.trainer
        rules, position = lane.rules, lane.position
        if rules.losses_evaluate:
            if step == 0:
                position.first_mse = float(losses[0])
            for offset, mse in enumerate(losses.tolist()):
                if rules.is_due(step + offset):
                    lane.record(step + offset, mse, mse)
        elif position.step == rules.next_due(step):
            watch = _Watch()
            mse = trainer.evaluate(index)
            self.evaluation_seconds = watch.worked(self.evaluation_seconds)
            position.seconds += self.evaluation_seconds
            if not math.isfinite(mse):
                self.diverge(index, position.step)
                return
            is_target = rules.target_psnr is not None and (
                float(psnr_from_mse(mse)) >= rules.target_psnr
            )
            if rules.is_due(position.step) or is_target:
                lane.record(position.step, mse, position.loss)
        if position.step == lane.recorder.next_frame(step):
            lane.recorder.frame(position.step, trainer.predict(index))

    def diverge(self, index: int, step: int) -> None:
        """End a fit that is not finite at a step; it goes back to before the chunk."""
        lane = self.lanes[index]
        if self.before and self.trainer.steps[index] > self.before[index][0].step:
            self.trainer.rollback(index)
            lane.position = dataclasses.replace(self.before[index][0])
            del lane.rows[self.before[index][1] :]
        lane.stopped = "diverged"
        lane.diverged = step, self.trainer.learning_rate(index, step)
        with failing(lane):
            lane.recorder.save(lane.position, self.trainer.state(index))

    def finish(self, index: int) -> None:
        """End a fit whose rules say so: its last evaluation, frame and checkpoint."""
        lane = self.lanes[index]
        if lane.stopped or not (why := lane.why_stop()):
            return
        position = lane.position
        with failing(lane):
            is_new = position.last_row != position.step
            mse = self.trainer.evaluate(index) if is_new else position.last_mse
            if not math.isfinite(mse):
                self.diverge(index, position.step)
                return
            # The checkpoint lacks the last row: a fit of more steps would not have it.
            lane.recorder.save(position, self.trainer.state(index))
            if is_new:
                lane.record(position.step, mse, position.loss)
            if lane.recorder.next_frame(position.step) < math.inf:
                lane.recorder.frame(position.step, self.trainer.predict(index))
            lane.stopped = why

    def interrupt(self, name: str) -> None:
        """End all fits that go on, to be resumed."""
        running = self.running()
        self.save(running)
        for index in running:
            self.lanes[index].stopped = self.lanes[index].stopped or name

    def save(self, indices: Sequence[int]) -> None:
        """Write checkpoints of some lanes."""
        for index in indices:
            lane = self.lanes[index]
            with failing(lane):
                lane.recorder.save(lane.position, self.trainer.state(index))

    def undo(self) -> None:
        """Go back to before the chunk that was interrupted."""
        if not self.before:
            return
        steps = self.trainer.steps
        pairs = zip(self.lanes, self.before, strict=True)
        for index, (lane, (position, rows)) in enumerate(pairs):
            if lane.stopped:
                continue
            # The interrupt may have come before the chunk did.
            if steps[index] != position.step:
                self.trainer.rollback(index)
            lane.position = position
            del lane.rows[rows:]

    def report(self, front: list[int]) -> None:
        """Report the means over the fits that advanced."""
        lanes = [self.lanes[i] for i in front]
        position = lanes[0].position
        loss = float(np.mean([lane.position.loss for lane in lanes]))
        evaluated = [lane for lane in lanes if lane.position.num_rows]
        psnr_db = math.nan
        if evaluated:
            psnr_db = float(np.mean([lane.psnr_db for lane in evaluated]))
        self.on_progress(
            Progress(
                step=position.step,
                steps=lanes[0].rules.steps,
                seconds=position.seconds,
                loss=loss,
                psnr_db=psnr_db,
                steps_per_second=self.rate or math.nan,
                evaluated_step=position.last_row,
                loss_psnr_db=float(psnr_from_mse(loss)),
            )
        )
