"""The real command in a process of its own: options, files, messages, exit codes."""

import json
import os
import pty
import re
import subprocess
import sys

import numpy as np
import pytest
from conftest import ROOT, said
from PIL import Image

from jax_inr.cli import main, options
from jax_inr.config import Config
from jax_inr.errors import ConfigError
from jax_inr.presets import PRESETS, preset

QUICK = ("--size", 12, "--steps", 3, "--batch-size", 16, "--device", "cpu")
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


def modules_after(code: str, *names: str) -> list[bool]:
    """Which modules a fresh interpreter has imported after running `code`."""
    test = f"{code}\nimport sys; print([n in sys.modules for n in {names!r}])"
    result = subprocess.run(
        [sys.executable, "-c", test], capture_output=True, text=True, check=True
    )
    return json.loads(result.stdout.splitlines()[-1].lower())


def test_a_run_writes_every_file_of_the_design(fit_py, tmp_path):
    result = fit_py(*QUICK, "--out", "run", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    run = tmp_path / "run"
    assert {path.name for path in run.iterdir()} == FILES
    summary = json.loads((run / "summary.json").read_text())
    assert summary["steps"] == 3 and summary["stopped"] == "steps"
    assert summary["preset"] == "default" and summary["backend"] == "jax"
    assert summary["image"]["height"] == summary["image"]["width"] == 12
    assert set(summary["seconds"]) == {"compile", "fit", "total"}
    assert len(summary["image"]["sha256"]) == 64
    assert summary["num_params"] == 66_691
    rows = [json.loads(x) for x in (run / "metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [1, 3]
    keys = {"step", "seconds", "loss", "psnr_db", "pooled_psnr_db"}
    assert all(set(row) == keys for row in rows)
    saved = np.asarray(Image.open(run / "reconstruction.png"))
    assert saved.shape == (12, 12, 3)
    from jax_inr import ImageField
    from jax_inr.io.images import to_uint8

    field = ImageField.load(run / "field.safetensors")
    np.testing.assert_array_equal(to_uint8(field.render()), saved)
    # What it wrote is named last, and the table has the figure of the summary.
    assert result.stdout.splitlines()[-1] == "written to run"
    assert f"{summary['psnr_db']:.2f} dB" in result.stdout


def test_a_run_repeats_from_its_config(fit_py, tmp_path):
    assert fit_py(*QUICK, "--sigma", 3, "--out", "a", cwd=tmp_path).returncode == 0
    again = ("--config", "a/config.json", "--size", 12, "--device", "cpu")
    assert fit_py(*again, "--out", "b", cwd=tmp_path).returncode == 0
    for name in ("config.json", "field.safetensors", "reconstruction.png"):
        a, b = tmp_path / "a" / name, tmp_path / "b" / name
        assert a.read_bytes() == b.read_bytes(), name


def test_the_jax_back_end_never_imports_torch():
    code = (
        "import jax_inr.cli.main as c, tempfile\n"
        "c.main(['fit','--size','8','--steps','2','--quiet','--device','cpu',"
        "'--out', tempfile.mkdtemp() + '/run'])"
    )
    assert modules_after(code, "jax", "torch") == [True, False]


def test_help_and_the_package_import_neither_framework():
    code = (
        "import contextlib, io, jax_inr, jax_inr.cli.main as c\n"
        "quiet = contextlib.redirect_stdout(io.StringIO())\n"
        "with contextlib.suppress(SystemExit), quiet as out:\n"
        "    c.main(['fit', '--help'])\n"
        "assert '--learning-rate' in out.getvalue()"
    )
    assert modules_after(code, "jax", "flax", "torch", "matplotlib") == [False] * 4


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
def test_both_back_ends_report_alike(fit_py, tmp_path):
    pytest.importorskip("torch")
    keys = []
    for backend in ("jax", "torch"):
        options = (*QUICK, "--backend", backend, "--out", backend)
        result = fit_py(*options, cwd=tmp_path)
        assert result.returncode == 0, result.stderr
        assert {path.name for path in (tmp_path / backend).iterdir()} == FILES
        summary = json.loads((tmp_path / backend / "summary.json").read_text())
        assert summary["backend"] == backend
        keys.append(set(summary))
    assert keys[0] == keys[1]


def test_torch_missing_is_one_line_with_the_command(tmp_path):
    (tmp_path / "torch.py").write_text("raise ImportError('blocked')")
    code = "import sys, jax_inr.cli.main as c; sys.exit(c.main(sys.argv[1:]))"
    result = subprocess.run(
        [sys.executable, "-c", code, "fit", "--backend", "torch", "--out", "x"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert 'pip install -e ".[torch]"' in said(result, 2)
    assert not (tmp_path / "x").exists()


BAD_OPTIONS = [
    (("--steps", "-1"), "steps"),
    (("--steps", "0"), "steps"),
    (("--steps", "nan"), "--steps"),
    (("--steps", "1000000000000000000"), "steps"),
    (("--size", "0"), "size"),
    (("--size", "-3"), "size"),
    (("--size", "nan"), "size"),
    (("--size", "12x"), "size"),
    (("--size", "1000000000"), "size"),
    (("--learning-rate", "nan"), "learning_rate"),
    (("--learning-rate", "-1"), "learning_rate"),
    (("--learning-rate", "0"), "learning_rate"),
    (("--learning-rate", "1e30"), "learning_rate"),
    (("--sigma", "inf"), "sigma"),
    (("--batch-size", "0"), "batch_size"),
    (("--batch-size", "1000", "--size", "10"), "batch_size"),
    (("--hidden-features", "0"), "hidden_features"),
    (("--momentum", "1"), "momentum"),
    (("--preset", "optimised"), "did you mean optimized"),
    (("--optimizer", "sdg"), "adamw"),
    (("--lerning-rate", "1"), "did you mean --learning-rate"),
    (("--device", "tpu"), "tpu"),
    (("--backend", "numpy"), "numpy"),
    (("--preset", "cnn", "--batch-size", "9"), "whole grid"),
    (("--config", "nope.json"), "nope.json"),
    (("--target-psnr", "-1"), "target_psnr"),
    (("--max-seconds", "nan"), "max_seconds"),
    (("--checkpoint-seconds", "nan"), "checkpoint_seconds"),
    (("--max-pixels", "0"), "max_pixels"),
]


@pytest.mark.parametrize(("words", "named"), BAD_OPTIONS)
def test_a_bad_option_is_one_line_that_names_it(
    words, named, tmp_path, monkeypatch, capsys
):
    """In this process, for speed: parsing does not differ; three cases are real."""
    monkeypatch.chdir(tmp_path)
    assert main.main(["fit", *words, "--out", "run"]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("error: ") and printed.err.count("\n") == 1
    assert named in printed.err
    assert not list(tmp_path.iterdir())


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


def test_an_existing_run_is_never_overwritten_unasked(fit_py, tmp_path):
    assert fit_py(*QUICK, "--out", "run", cwd=tmp_path).returncode == 0
    before = (tmp_path / "run" / "summary.json").read_bytes()
    assert "--overwrite" in said(fit_py(*QUICK, "--out", "run", cwd=tmp_path), 6)
    assert (tmp_path / "run" / "summary.json").read_bytes() == before
    again = fit_py(*QUICK, "--out", "run", "--overwrite", "--seed", 1, cwd=tmp_path)
    assert again.returncode == 0
    assert json.loads((tmp_path / "run" / "summary.json").read_text())["seed"] == 1


def test_without_out_each_run_gets_a_folder_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main.free_folder("a/cat.jpg", "default") == "runs/cat-default"
    (tmp_path / "runs" / "cat-default").mkdir(parents=True)
    assert main.free_folder("a/cat.jpg", "default") == "runs/cat-default-2"


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_goes_through_its_options_unchanged(name):
    parsed = options.parse_fit(["--preset", name])
    fields = {f.name: getattr(parsed, f.name) for f in options.FIELDS}
    assert Config(preset=parsed.preset, **fields) == preset(name)


@pytest.mark.parametrize(
    ("text", "size"), [("224", 224), ("240x320", (240, 320)), ("1X2", (1, 2))]
)
def test_sizes(text, size):
    assert options.parse_size(text) == size


@pytest.mark.parametrize("text", ["", "x", "1x2x3", "²", "1.5", " 3", "0x1"])
def test_bad_sizes(text):
    with pytest.raises(ConfigError, match="size"):
        options.parse_size(text)


def test_a_pipe_gets_plain_lines_and_a_terminal_a_live_bar(fit_py, tmp_path):
    plain = fit_py(*QUICK, "--out", "a", cwd=tmp_path, env={"TERM": "dumb"})
    assert "\x1b" not in plain.stdout and "\r" not in plain.stdout
    assert re.search(r"^step 3/3  loss .* dB .* steps/s", plain.stdout, re.M)

    parent, child = pty.openpty()
    script = [sys.executable, str(ROOT / "scripts" / "fit.py"), *map(str, QUICK)]
    process = subprocess.Popen(
        [*script, "--out", "b"],
        cwd=tmp_path,
        stdout=child,
        env={**os.environ, "TERM": "xterm-256color", "COLUMNS": "100"},
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


def test_quiet_prints_nothing(fit_py, tmp_path):
    result = fit_py(*QUICK, "--quiet", "--out", "run", cwd=tmp_path)
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")


def test_debug_adds_the_traceback(fit_py, tmp_path):
    result = fit_py("nope.png", "--debug", cwd=tmp_path)
    assert result.returncode == 3
    assert "Traceback" in result.stderr
    assert result.stderr.splitlines()[-1].startswith("error: nope.png")


def test_resuming_a_finished_run_says_so_and_changes_nothing(fit_py, tmp_path):
    assert fit_py(*QUICK, "--out", "run", cwd=tmp_path).returncode == 0
    names = sorted(FILES - {"checkpoints"})
    before = [(tmp_path / "run" / name).read_bytes() for name in names]
    result = fit_py("--resume", "run", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert "finished" in result.stdout
    assert [(tmp_path / "run" / name).read_bytes() for name in names] == before


def test_a_finished_run_goes_on_when_it_is_given_more_steps(fit_py, tmp_path):
    constant = ("--schedule", "constant", "--warmup-steps", 0, "--learning-rate", 1)
    assert fit_py(*QUICK, *constant, "--out", "a", cwd=tmp_path).returncode == 0
    more = fit_py("--resume", "a", "--steps", 6, cwd=tmp_path)
    assert more.returncode == 0, more.stderr
    whole = (*QUICK, *constant, "--steps", 6, "--out", "b")
    assert fit_py(*whole, cwd=tmp_path).returncode == 0
    for name in ("field.safetensors", "reconstruction.png"):
        a, b = tmp_path / "a" / name, tmp_path / "b" / name
        assert a.read_bytes() == b.read_bytes(), name


def test_unknown_commands_and_no_command(capsys):
    assert main.main([]) == 0
    assert "fit" in capsys.readouterr().out
    assert main.main(["fitt"]) == 2
    assert "unknown command" in capsys.readouterr().err
