"""Every code block and command of README and docs runs, at small sizes.

`# text` after a `print` is what it prints, `…` stands for anything. A block that takes
long is marked `<!-- long -->` and followed by the output it gave; one for machines that
are not here is marked `<!-- elsewhere -->`, and compiled.
"""

import contextlib
import doctest
import glob
import io
import itertools
import re
import shlex
import subprocess

import pytest
from conftest import ROOT

import jax_inr
from jax_inr.cli.main import main

API = sorted(path.name for path in ROOT.glob("docs/api/*.md"))
BLOCK = re.compile(
    r"(?:<!-- (long|elsewhere) -->\n)?^```(\w*)\n(.*?)^```$", re.M | re.S
)
# `.ci/run` runs these in environments of their own, or they are the shell's.
ELSEWHERE = (
    *("pip install", "python -m pytest", "mkdocs ", "jax-inr --tyro-print"),
    "mkdir ",
)


def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


# All that have blocks; the reference and the notebook have tests of their own.
PAGES = ["README.md"]
PAGES += sorted(
    str(path.relative_to(ROOT))
    for path in [*ROOT.glob("docs/*.md"), *ROOT.glob("docs/guide/*.md")]
    if path.name != "notebook.md" and BLOCK.search(path.read_text(encoding="utf-8"))
)


def smaller(words: list[str]) -> list[str]:
    """A command's words at sizes that a test can afford."""
    if "--resume" in words:
        return words
    limits = {
        "fit": {"--size": "16", "--steps": "4"},
        "render": {"--scale": "2"},
        "compare": {"--crop": "16", "--steps": "2"},
        "restore": {"--steps": "4", "--fields": "2"},
    }.get(words[0], {})
    for option, value in limits.items():
        if option in words:
            words[words.index(option) + 1] = value
        elif words[0] != "render":
            words += [option, value]
    return words


def run_command(line: str) -> None:
    for command in re.split(r"\s+&&\s+", line):
        if command.startswith(ELSEWHERE):
            continue
        words = []
        for word in shlex.split(command, comments=True):
            words += sorted(glob.glob(word)) if "*" in word else [word]
        if words[0] == "python" and words[1].startswith("scripts/"):
            name = words[1].removeprefix("scripts/").removesuffix(".py")
            words = [name.replace("_", "-"), *words[2:]]
        else:
            assert words[0] == "jax-inr", f"nothing runs {command!r}"
            words = words[1:]
        assert main(smaller(words)) == 0, command


def run_python(source: str, names: dict) -> None:
    """Run a block; each comment beside a print is what it prints."""
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        exec(compile(source, "block", "exec"), names)
    for promised in re.findall(r"^print\(.*\)  # (.*)$", source, re.M):
        pattern = ".*".join(map(re.escape, promised.split(", what")[0].split("…")))
        assert re.search(pattern, out.getvalue()), (promised, out.getvalue())


QUICK = ("README.md",)  # the others take minutes together


@pytest.mark.parametrize(
    "page",
    [pytest.param(p, marks=[] if p in QUICK else pytest.mark.slow) for p in PAGES],
)
def test_every_block_of_a_page_runs(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "docs" / "images").mkdir(parents=True)
    monkeypatch.delenv("XLA_FLAGS", raising=False)
    names: dict = {"__name__": "page"}
    blocks = list(BLOCK.finditer(read(page)))
    for block, after in itertools.pairwise([*blocks, None]):
        assert block is not None
        mark, kind, text = block.groups()
        if mark == "long":
            assert after and after[2] == "text", "a long block shows its output"
        elif mark == "elsewhere":
            compile(text, "block", "exec")
        elif kind == "python":
            run_python(text, names)
        elif kind == "sh":
            text = text.replace("\\\n", " ")
            for line in filter(str.strip, text.splitlines()):
                run_command(line)
        elif kind == "bash":
            subprocess.run(["bash", "-n"], input=text, text=True, check=True)
        else:
            assert kind in ("text", "bibtex"), f"{page}: a block of kind {kind!r}"


def test_a_promise_that_is_not_kept_is_noticed():
    with pytest.raises(AssertionError):
        run_python("print(1 + 1)  # 3\n", {})
    with pytest.raises(AssertionError, match="nothing runs"):
        run_command("jaxinr fit")


@pytest.mark.slow_cases(
    "networks.md",
    "fits.md",
    "tasks.md",
    "sets.md",
    "fields.md",
    "encodings.md",
    "training.md",
    "datasets.md",
)
@pytest.mark.parametrize("page", API)
def test_examples_of_the_reference_run(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = read(f"docs/api/{page}").replace("…", "...")
    blocks = [block[3] for block in BLOCK.finditer(text) if block[2] == "pycon"]
    parser, names = doctest.DocTestParser(), {}
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS, verbose=False)
    test = parser.get_doctest("\n".join(blocks), names, page, page, 0)
    assert test.examples
    out = io.StringIO()
    runner.run(test, out=out.write)
    assert not runner.summarize(verbose=False).failed, out.getvalue()


def test_every_public_name_is_in_the_reference_with_an_example():
    shown = {}
    for page in API:
        entries = re.split(r"^::: ", read(f"docs/api/{page}"), flags=re.M)[1:]
        for entry in entries:
            name, _, rest = entry.partition("\n")
            assert name not in shown, f"{name} is there twice"
            shown[name] = rest
    for name in jax_inr.__all__:
        example = shown.get(f"jax_inr.{name}", "")
        assert f"jax_inr.{name}" in example and ">>>" in example, name


IDS = re.compile(r"\b((?:0[7-9]|1\d|2\d)(?:0[1-9]|1[0-2])\.\d{4,5})\b")


def test_the_references_are_the_papers_that_the_code_names():
    named = set()
    for folder in ("jax_inr", "torch_ref", "scripts"):
        for path in (ROOT / folder).rglob("*.py"):
            named |= set(IDS.findall(path.read_text(encoding="utf-8")))
    listed = re.findall(
        r"\[[^\]]{9,}\]\(https://arxiv\.org/abs/([\d.]+)\), arXiv ([\d.]+)",
        read("docs/references.md"),
    )
    assert all(link == text for link, text in listed)
    assert {link for link, _ in listed} == named


def test_every_page_is_in_the_navigation():
    nav = set(re.findall(r": ([\w/-]+\.md)$", read("mkdocs.yml"), re.M))
    pages = {str(path.relative_to(ROOT / "docs")) for path in ROOT.glob("docs/**/*.md")}
    assert nav == pages


def test_no_page_writes_what_another_page_wrote():
    """Who tries all pages in order is not refused by a run of an earlier one."""
    pages = {}
    for page in PAGES:
        code = "\n".join(block[3] for block in BLOCK.finditer(read(page)))
        for out in set(re.findall(r"--out (runs/\S+)|out=\"(runs/[^\"]+)\"", code)):
            pages.setdefault("".join(out), []).append(page)
    assert len(pages) > 10
    assert not {out: where for out, where in pages.items() if len(where) > 1}
