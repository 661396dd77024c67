"""`jax-inr fit` of one image: what it writes, prints, goes on with and refuses."""

import json
import os
import pty
import re
import shutil
import signal
import subprocess
import sys
import types

import numpy as np
import pytest
from conftest import ROOT, said
from PIL import Image
from test_main import modules_after

from jax_inr import fitting
from jax_inr.cli import fit, inputs, main, process
from jax_inr.config import Config

NETWORK = ("--hidden-features", 8, "--num-frequencies", 4)
QUICK = ("--size", 12, "--steps", 3, "--batch-size", 16, "--device", "cpu", *NETWORK)
CONSTANT = ("--schedule", "constant", "--warmup-steps", 0, "--learning-rate", 1)
FILES = {
    "summary.json",
    "config.json",
    "metrics.jsonl",
    "field.safetensors",
    "reconstruction.png",
    "comparison.png",
    "curves.png",
    "encoding.png",
    "checkpoints",
}


@pytest.fixture
def run(tmp_path, monkeypatch, capfd):
    """The command in this process and folder: exit code, output and errors."""
    monkeypatch.chdir(tmp_path)

    def call(*words: object) -> tuple[int, str, str]:
        capfd.readouterr()
        code = main.main(["fit", *map(str, words)])
        return code, *capfd.readouterr()

    return call


@pytest.fixture(scope="session")
def finished_once(tmp_path_factory):
    folder = tmp_path_factory.mktemp("finished") / "run"
    words = [*QUICK, *CONSTANT, "--quiet", "--out", folder]
    assert main.main(["fit", *map(str, words)]) == 0
    return folder


@pytest.fixture
def finished(finished_once, tmp_path):
    """A finished run, as `QUICK` and `CONSTANT` make it, in the folder `run`."""
    return shutil.copytree(finished_once, tmp_path / "run")


def contents(folder):
    return {p.name: p.read_bytes() for p in sorted(folder.iterdir()) if p.is_file()}


def test_a_run_writes_every_file_of_the_design(run, tmp_path):
    code, out, err = run("--size", 12, "--steps", 3, "--batch-size", 16, "--out", "run")
    assert (code, err) == (0, "")
    folder = tmp_path / "run"
    assert {path.name for path in folder.iterdir()} == FILES
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["steps"] == 3 and summary["stopped"] == "steps"
    assert summary["preset"] == "default" and summary["backend"] == "jax"
    assert summary["image"]["height"] == summary["image"]["width"] == 12
    assert set(summary["seconds"]) == {"compile", "fit", "total"}
    assert len(summary["image"]["sha256"]) == 64
    assert summary["num_params"] == 66_691
    rows = [json.loads(x) for x in (folder / "metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [1, 3]
    keys = {"step", "seconds", "loss", "psnr_db", "pooled_psnr_db"}
    assert all(set(row) == keys for row in rows)
    image = np.asarray(Image.open(folder / "reconstruction.png"))
    assert image.shape == (12, 12, 3)
    from jax_inr import ImageField
    from jax_inr.io.images import to_uint8

    field = ImageField.load(folder / "field.safetensors")
    np.testing.assert_array_equal(to_uint8(field.render()), image)
    # What it wrote is named last, and the table has the figure of the summary.
    assert out.splitlines()[-1] == "written to run"
    assert f"{summary['psnr_db']:.2f} dB" in out


def test_a_run_repeats_from_its_config(run, finished, tmp_path):
    again = ("--config", "run/config.json", "--size", 12, "--device", "cpu")
    assert run(*again, "--out", "b")[0] == 0
    for name in ("config.json", "field.safetensors", "reconstruction.png"):
        assert (finished / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_the_jax_back_end_never_imports_torch():
    code = (
        "import jax_inr.cli.main as c, tempfile\n"
        "c.main(['fit','--size','8','--steps','2','--quiet','--device','cpu',"
        "'--out', tempfile.mkdtemp() + '/run'])"
    )
    assert modules_after(code, "jax", "torch") == [True, False]


@pytest.mark.torch
def test_the_torch_back_end_imports_no_jax():
    pytest.importorskip("torch")
    code = (
        "import jax_inr.cli.main as c, tempfile\n"
        "c.main(['fit','--backend','torch','--size','8','--steps','2','--quiet',"
        "'--out', tempfile.mkdtemp() + '/run'])"
    )
    assert modules_after(code, "jax", "torch") == [False, True]


@pytest.mark.torch
def test_both_back_ends_report_alike(run, finished, tmp_path):
    pytest.importorskip("torch")
    code, _, err = run(*QUICK, *CONSTANT, "--backend", "torch", "--out", "torch")
    assert code == 0, err
    assert {path.name for path in (tmp_path / "torch").iterdir()} == FILES
    jax, torch = (
        json.loads((tmp_path / name / "summary.json").read_text())
        for name in ("run", "torch")
    )
    assert (jax["backend"], torch["backend"]) == ("jax", "torch")
    assert set(jax) == set(torch)


def test_torch_missing_is_one_line_with_the_command(tmp_path):
    (tmp_path / "torch.py").write_text("raise ImportError('blocked')")
    code = "import sys, jax_inr.cli.main as c; sys.exit(c.main(sys.argv[1:]))"
    result = subprocess.run(
        [sys.executable, "-c", code, "fit", "--backend", "torch", "--out", "x"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": f"{tmp_path}:{ROOT}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert 'pip install -e ".[torch]"' in said(result, 2)
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize(
    ("options", "code", "named"),
    [
        (("--steps", "-1"), 2, "steps"),
        (("nope.png",), 3, "nope.png"),
        (("--device", "gpu"), 7, "GPU"),
    ],
)
def test_the_command_exits_with_the_code_and_writes_nothing(
    options, code, named, fit_py, tmp_path
):
    environment = {"JAX_PLATFORMS": "cpu"}
    result = fit_py(*options, "--out", "run", cwd=tmp_path, env=environment)
    assert named in said(result, code)
    assert not list(tmp_path.iterdir())


# One command that begins, goes on, or says that it is done.


def test_the_same_command_of_a_finished_run_says_done_and_changes_nothing(
    run, finished
):
    before = contents(finished)
    code, out, err = run(*QUICK, *CONSTANT, "--out", "run")
    assert (code, err) == (0, "")
    assert out.startswith("run is finished: done after 3 steps at ")
    assert contents(finished) == before


def test_the_same_command_goes_on_where_it_was_stopped(run, finished, tmp_path):
    """After a signal it exits with its code; the command again ends the same run."""
    real = fitting.fit

    def stopped(*arguments, stop, **how):
        def on_progress(progress):
            if progress.step >= 2:
                os.kill(os.getpid(), signal.SIGUSR1)

        return real(*arguments, stop=stop, **{**how, "on_progress": on_progress})

    words = (*QUICK, *CONSTANT, "--eval-every", 1, "--out", "again")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fitting, "fit", stopped)
        code, _, err = run(*words)
    assert code == 128 + signal.SIGUSR1
    (line,) = err.splitlines()
    assert "stopped by SIGUSR1 after step 2" in line and "again" in line
    assert not (tmp_path / "again" / "summary.json").exists()
    code, out, err = run(*words)
    assert (code, err) == (0, "") and "step 3/3" in out and "step 1/3" not in out
    assert run(*words)[1].startswith("again is finished: done after 3 steps")
    a, b = (tmp_path / name / "field.safetensors" for name in ("run", "again"))
    from jax_inr.io.tensorfile import load_tensors

    # Their configs differ in eval_every, and nothing else does.
    for name, tensor in load_tensors(a, "field")[0].items():
        np.testing.assert_array_equal(tensor, load_tensors(b, "field")[0][name])


def test_a_run_killed_before_its_first_checkpoint_begins_again(run, finished):
    for path in (finished / "checkpoints").glob("step_*"):
        path.unlink()
    (finished / "summary.json").unlink()
    before = (finished / "field.safetensors").read_bytes()
    code, out, err = run(*QUICK, *CONSTANT, "--out", "run")
    assert (code, err) == (0, "") and "step 1/3" in out
    assert (finished / "field.safetensors").read_bytes() == before


@pytest.mark.parametrize("other", [("--size", 13), ("--seed", 1), ("--sigma", 3)])
def test_another_run_in_the_folder_is_refused_and_stays_as_it_is(run, finished, other):
    before = contents(finished)
    code, _, err = run(*QUICK, *CONSTANT, *other, "--out", "run")
    assert code == 6 and err.count("\n") == 1 and "--overwrite" in err
    assert contents(finished) == before
    code, _, err = run(*QUICK, *CONSTANT, *other, "--out", "run", "--overwrite")
    assert (code, err) == (0, "") and contents(finished) != before


def test_resuming_a_finished_run_says_so_and_changes_nothing(run, finished):
    before = contents(finished)
    code, out, err = run("--resume", "run")
    assert (code, err) == (0, "")
    assert "run is finished: done after 3 steps" in out
    assert contents(finished) == before
    # What it says can be done is done by these very words.
    (words,) = re.findall(r"--resume run --steps \d+(?= goes on)", out)
    code, out, err = run(*words.split())
    assert (code, err) == (0, "") and "step 6/6" in out


def test_a_finished_run_goes_on_when_it_is_given_more_steps(run, finished, tmp_path):
    assert run("--resume", "run", "--steps", 6)[0] == 0
    assert run(*QUICK, *CONSTANT, "--steps", 6, "--out", "b")[0] == 0
    for name in ("field.safetensors", "reconstruction.png"):
        assert (finished / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


@pytest.mark.parametrize(
    ("stopped", "schedule", "words"),
    [
        ("steps", "constant", "--resume cat --steps 200 goes on"),
        ("steps", "cosine", "begin a new run: another --out, a larger --steps"),
        ("target_psnr", "cosine", "--resume cat with a higher --target-psnr goes on"),
        ("max_seconds", "cosine", "--resume cat with a larger one goes on"),
    ],
)
def test_what_a_finished_run_promises_can_be_done(stopped, schedule, words):
    summary = {"steps": 100, "stopped": stopped, "psnr_db": 30.0}
    config = Config(steps=100, schedule=schedule)
    assert words in fit.what_next("cat", config, summary)  # pyright: ignore


# What is printed, and where the files go.


def test_without_out_each_run_gets_a_folder_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert str(inputs.free_folder("a/cat.jpg", "default")) == "runs/cat-default"
    (tmp_path / "runs" / "cat-default").mkdir(parents=True)
    assert str(inputs.free_folder("a/cat.jpg", "default")) == "runs/cat-default-2"


def test_quiet_prints_the_folder_that_was_chosen_and_nothing_else(run, finished):
    assert run(*QUICK, *CONSTANT, "--quiet") == (0, "runs/sample-default\n", "")
    assert run(*QUICK, *CONSTANT, "--quiet", "--out", "run") == (0, "", "")
    assert run("--resume", "run", "--quiet") == (0, "", "")


def test_json_prints_the_summary_alone(run, finished):
    code, out, err = run(*QUICK, *CONSTANT, "--json", "--out", "run")
    assert (code, err) == (0, "")
    assert json.loads(out) == json.loads((finished / "summary.json").read_text())
    code, out, err = run(*QUICK, *CONSTANT, "--json")
    assert json.loads(out)["steps"] == 3
    assert err == "written to runs/sample-default\n"


def test_a_tilde_is_the_home_folder(run, tmp_path, monkeypatch):
    home = tmp_path / "home"
    home.mkdir()
    Image.fromarray(np.zeros((9, 9, 3), np.uint8)).save(home / "a.png")
    monkeypatch.setenv("HOME", str(home))
    code, _, err = run("~/a.png", *QUICK, "--size", 9, "--quiet", "--out=~/run")
    assert (code, err) == (0, "")
    assert (home / "run" / "summary.json").exists()
    assert not (tmp_path / "~").exists()
    assert run("--resume=~/run", "--quiet") == (0, "", "")


def test_a_pipe_gets_plain_lines_and_a_terminal_a_live_bar(run, tmp_path, monkeypatch):
    monkeypatch.setenv("TERM", "dumb")
    _, out, _ = run(*QUICK, "--out", "a")
    assert "\x1b" not in out and "\r" not in out
    assert re.search(r"^step 3/3  loss .* dB .* steps/s", out, re.M)

    parent, child = pty.openpty()
    script = [sys.executable, str(ROOT / "scripts" / "fit.py"), *map(str, QUICK)]
    process = subprocess.Popen(
        [*script, "--out", "b"],
        cwd=tmp_path,
        stdout=child,
        env={**os.environ, "TERM": "xterm-256color", "COLUMNS": "120"},
    )
    os.close(child)
    shown = b""
    try:
        while part := os.read(parent, 4096):
            shown += part
    except OSError:  # Linux ends a closed terminal this way
        pass
    os.close(parent)
    assert process.wait() == 0
    text = shown.decode()
    assert "\x1b[" in text and "3/3" in text and "steps/s" in text


def test_debug_adds_the_traceback(run):
    code, _, err = run("nope.png", "--debug")
    assert code == 3 and "Traceback" in err
    assert err.splitlines()[-1].startswith("error: nope.png")


def test_the_fit_is_given_the_guard_that_heard_a_signal(run, finished, monkeypatch):
    """The library installs no handlers: the command does, and hands it a question."""
    asked = []

    def resume(out, *, stop, **how):
        assert stop() == ""
        os.kill(os.getpid(), signal.SIGXCPU)
        asked.append(stop())
        summary = json.loads((finished / "summary.json").read_text())
        return types.SimpleNamespace(summary=summary)

    monkeypatch.setattr(fitting, "resume", resume)
    before = [signal.getsignal(number) for number in process.HANDLED]
    assert run("--resume", "run")[0] == 0
    assert asked == ["SIGXCPU"]
    assert [signal.getsignal(number) for number in process.HANDLED] == before


def test_numbers_asked_for_pick_the_widths(run, tmp_path):
    out = tmp_path / "sized"
    words = ("--size", 12, "--steps", 2, "--batch-size", 16, "--quiet", *NETWORK)
    assert run(*words, "--num-params", 1000, "--out", out)[0] == 0
    summary = json.loads((out / "summary.json").read_text())
    config = Config.from_dict(json.loads((out / "config.json").read_text()))
    assert 900 < summary["num_params"] <= 1000
    assert config.hidden_features == (83,)
    code, _, errors = run(*words, "--num-params", 3, "--out", tmp_path / "no")
    assert code == 2
    assert "num_params is 3, and the smallest network of this kind has 15" in errors


def test_auto_becomes_a_number_that_the_run_keeps(run, tmp_path):
    out = tmp_path / "auto"
    words = ("--size", 12, "--steps", 2, "--batch-size", 16, "--quiet", *NETWORK)
    code, _, errors = run(*words, "--sigma", "auto", "--out", out)
    assert code == 0
    sigma = json.loads((out / "config.json").read_text())["sigma"]
    assert f"sigma is {sigma:g}, by the image's spectrum" in errors
    assert run(*words, "--sigma", "auto", "--out", out)[0] == 0
    assert run(*words, "--sigma", sigma, "--out", out)[0] == 0
    code, _, errors = run("--preset", "fast", "--sigma", "auto")
    assert code == 2
    assert errors.strip() == (
        "error: sigma is auto, and encoding pyramid has none; leave it out, or use "
        "--encoding gaussian"
    )
    code, _, errors = run("--sigma", "best")
    assert code == 2 and len(errors.splitlines()) == 1 and "auto" in errors
