"""The list of commands, their errors as one line, and what none of them imports."""

import ast
import contextlib
import io
import json
import re
import subprocess
import sys

import pytest
from conftest import ROOT

import jax_inr
from jax_inr.cli import main, parsing
from jax_inr.extras import CPU_TORCH


def modules_after(code: str, *names: str) -> list[bool]:
    """Which modules a fresh interpreter has imported after running `code`."""
    test = f"{code}\nimport sys; print([n in sys.modules for n in {names!r}])"
    result = subprocess.run(
        [sys.executable, "-c", test], capture_output=True, text=True, check=True
    )
    return json.loads(result.stdout.splitlines()[-1].lower())


def test_help_and_the_package_import_neither_framework():
    code = (
        "import contextlib, io, jax_inr, jax_inr.cli.main as c\n"
        "quiet = contextlib.redirect_stdout(io.StringIO())\n"
        "with quiet as out:\n"
        "    c.main(['--help']); c.main(['fit', '--help'])\n"
        "assert '--learning-rate' in out.getvalue()"
    )
    names = ("jax", "flax", "torch", "matplotlib", "skimage", "PIL")
    assert modules_after(code, *names) == [False] * len(names)


def test_the_list_of_commands_has_a_sentence_each(capsys):
    for words in ([], ["--help"], ["-h"]):
        assert main.main(words) == 0
        printed = " ".join(capsys.readouterr().out.replace("│", " ").split())
        for name in main.COMMANDS:
            assert re.search(rf"• {name} [A-Z][^•]+\.", printed), name


def test_every_command_has_options_with_help_and_is_one_function():
    for name in main.COMMANDS:
        module = main._module(name)
        assert callable(module.command) and module.Options.__doc__.strip()
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            assert main.main([name, "--help"]) == 0
        assert f"jax-inr {name}" in out.getvalue()


def test_the_version(capsys):
    assert main.main(["--version"]) == 0
    assert capsys.readouterr().out == f"jax-inr {jax_inr.__version__}\n"


@pytest.mark.parametrize(
    ("word", "hint"), [("fitt", "did you mean fit?"), ("qqq", "commands: fit, render")]
)
def test_an_unknown_command_is_one_line(word, hint, capsys):
    assert main.main([word]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"error: unknown command '{word}'; ") and hint in line


def test_an_unknown_option_before_the_command_is_one_line(capsys):
    assert main.main(["--versio"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ") and "--versio" in line


@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_a_completion_script_knows_commands_and_options(shell, capsys):
    assert main.main(["--tyro-print-completion", shell]) == 0
    script = capsys.readouterr().out
    for word in (*main.COMMANDS, "--learning-rate", "--derivative", "dense_grid"):
        assert word in script


def test_every_hint_to_install_is_from_the_checkout():
    """The package is on no index: a name there may be anybody's."""
    found = []
    for folder in ("jax_inr", "torch_ref", "scripts"):
        for path in (ROOT / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Constant) and "pip install" in str(node.value):
                    found += re.findall(r"pip install .*", str(node.value))
    # torch has an index of its own, and its CPU build comes before the extra.
    assert CPU_TORCH in found
    for hint in {*found} - {CPU_TORCH}:
        # The name of an extra may be filled in.
        assert re.match(r'pip install -e "\.(\[([a-z0-9]+\]"|$)|")', hint), hint


BOX = """
╭─ Unrecognized options ────────────────────╮
│ Unrecognized options: --sigmo, 3          │
│ ───────────────────────────────────────── │
│ Perhaps you meant:                        │
│     --sigma FLOAT                         │
╰───────────────────────────────────────────╯
"""


def test_a_box_of_tyro_is_one_line_with_what_was_meant():
    message, hint = parsing.one_line(BOX)
    assert message == "Unrecognized options: --sigmo, 3"
    assert hint == "did you mean --sigma?"
