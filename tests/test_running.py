"""A batch whose process is killed for good at random moments, from its start on."""

import json
import random
import subprocess
import sys
import time

import numpy as np
import pytest
from conftest import ROOT
from fakes import assert_same_run

BATCH = """
import json, sys
import numpy as np
from jax_inr import run_images
from jax_inr.fitting import fit_many
run_images.write_figures = lambda *_: None
images, config = np.load("images.npy"), json.load(open("config.json"))
print("begin", flush=True)
fits = fit_many(
    images, config, names=list("abc"), out=sys.argv[1], save_every_seconds=0.0,
    device="cpu", on_progress=lambda progress: print(progress.step, flush=True),
)
assert not fits.failures
print("done", flush=True)
"""
CONFIG = {
    **{"num_frequencies": 8, "hidden_features": [16, 12], "learning_rate": 0.5},
    **{"batch_size": 16, "steps": 3000, "eval_every": 20},
}


def start(folder, out):
    return subprocess.Popen(
        [sys.executable, "-c", BATCH, out],
        cwd=folder,
        env={"PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu", "PATH": ""},
        stdout=subprocess.PIPE,
        text=True,
    )


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_same_call_again_ends_a_killed_batch_byte_for_byte(tmp_path):
    images = np.random.default_rng(3).random((3, 6, 7, 3), dtype=np.float32)
    np.save(tmp_path / "images.npy", images)
    (tmp_path / "config.json").write_text(json.dumps(CONFIG))
    whole = start(tmp_path, "whole")
    assert whole.communicate()[0].endswith("done\n")
    generator, before_a_checkpoint = random.Random(5), 0
    for number in range(12):
        with start(tmp_path, "out") as process:
            # Half of them before the first step, half among the steps.
            if number % 2:
                assert process.stdout
                while (line := process.stdout.readline().strip()) in ("", "begin"):
                    assert process.poll() is None
                assert line
                time.sleep(generator.uniform(0, 0.1))
            else:
                # The first at once, so that there is no checkpoint yet.
                time.sleep(generator.uniform(0, number / 2))
            process.kill()
        before_a_checkpoint += not any((tmp_path / "out").glob("*/checkpoints/step_*"))
    last = start(tmp_path, "out")
    assert last.communicate()[0].endswith("done\n")
    assert before_a_checkpoint
    for name in "abc":
        assert_same_run(tmp_path / "out" / name, tmp_path / "whole" / name)
