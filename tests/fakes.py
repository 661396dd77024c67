"""Trainers, signals and comparisons that tests of fits share."""

import json

import numpy as np


class NumpyTrainer:
    """Fits one colour to each whole image, by gradient steps; compiles nothing."""

    device = "numpy"
    max_chunk_steps = 4096

    def __init__(self, images):
        self.images, self.count = list(images), len(images)
        self.colours = [np.zeros(image.shape[-1], np.float32) for image in self.images]
        self.steps = [0] * self.count
        self._keep()

    def _keep(self):
        self._before = [c.copy() for c in self.colours], list(self.steps)

    def compile(self):
        pass

    def advance(self, num_steps, active):
        self._keep()
        losses = np.zeros((self.count, num_steps), np.float32)
        for lane in np.flatnonzero(active):
            for i in range(num_steps):
                error = self.colours[lane] - self.images[lane]
                losses[lane, i] = np.mean(error**2)
                step = np.float32(0.1) * error.mean((0, 1))
                self.colours[lane] = self.colours[lane] - step
            self.steps[lane] += num_steps
        return losses, np.ones(self.count, bool)

    def rollback(self, lane):
        self.colours[lane], self.steps[lane] = (kept[lane] for kept in self._before)

    def learning_rate(self, lane, step):
        return 0.1

    def evaluate(self, lane):
        return float(np.mean((self.predict(lane) - self.images[lane]) ** 2))

    def predict(self, lane):
        return np.broadcast_to(self.colours[lane], self.images[lane].shape)

    def parameters(self, lane):
        return {"params/colour": self.colours[lane].copy()}

    def state(self, lane):
        return {**self.parameters(lane), "step": np.array(self.steps[lane])}

    def load_state(self, lane, tensors):
        self.colours[lane] = tensors["params/colour"].copy()
        self.steps[lane] = int(tensors["step"])


class StopAt:
    """Both `stop` and `on_progress`: a signal once some fit has taken so many steps."""

    def __init__(self, step, name="SIGTERM"):
        self._step, self._name, self._now = step, name, 0

    def on_progress(self, progress):
        self._now = max(self._now, progress.step)

    def __call__(self):
        return self._name if self._now >= self._step else ""

    @property
    def keywords(self):
        return {"stop": self, "on_progress": self.on_progress}


def log(run):
    """The rows of metrics.jsonl without what a clock measured."""
    rows = map(json.loads, (run / "metrics.jsonl").read_text().splitlines())
    return [{**row, "seconds": None} for row in rows]


def written(run):
    return {str(p.relative_to(run)): p.read_bytes() for p in run.rglob("*.*")}


def make_field(config, height, width, channels=3, variables=None, **origin):
    """The field of a config that has not been trained, or of these variables."""
    from conftest import draw

    from jax_inr.field import ImageField
    from jax_inr.model import make_model

    model = make_model(config, height, width, channels)
    variables = draw(model) if variables is None else variables
    return ImageField.make(
        model, variables, (height, width, channels), config, **origin
    )


RESULTS = ("field.safetensors", "reconstruction.png", "config.json")


def assert_same_run(run, reference):
    """Equal to the last bit in all but what a clock measured."""
    assert log(run) == log(reference)
    for name in RESULTS:
        assert (run / name).read_bytes() == (reference / name).read_bytes(), name
    found, expected = (
        {**json.loads((folder / "summary.json").read_text()), "seconds": None}
        for folder in (run, reference)
    )
    assert found == expected
