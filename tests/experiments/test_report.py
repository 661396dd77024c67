"""Reports: what is kept, what is refused, and the docs that follow from their JSON."""

import json
import platform

import pytest
from conftest import ROOT

from jax_inr import machine
from jax_inr.draw import plots
from jax_inr.errors import ConfigError, OutputError
from jax_inr.experiments import report
from jax_inr.experiments.benchmark import report as benchmark
from jax_inr.experiments.compare import report as compare
from jax_inr.experiments.parity import report as parity
from jax_inr.experiments.report import Drawing, Section
from jax_inr.experiments.spectral_bias import checks
from jax_inr.experiments.spectral_bias import report as spectral_bias


def measure(options, say):
    say(f"{options} turns")
    return {"turns": options}


def draw(measured):
    return plots.Figure(figsize=(1, 1))


SECTIONS = {
    "first": Section("The first", lambda m: f"{m['turns']} turns"),
    "second": Section(
        "The second", lambda m: f"{m['turns']} laps", (Drawing("", "A figure", draw),)
    ),
}
MEASURES = dict.fromkeys(SECTIONS, measure)


def run(names, turns, out, measures=MEASURES, said=None):
    say = report.silent if said is None else said.append
    command = "python a.py {}".format
    path = out.with_suffix(".json")
    return report.measure(measures, names, turns, path, command, say)


def test_a_report_keeps_the_sections_that_were_not_measured(tmp_path):
    out, said = tmp_path / "new" / "speed.md", []
    run(["second"], 3, out, said=said)
    kept = run(["first"], 5, out, said=said)
    assert said == ["3 turns", "5 turns"]
    assert kept == json.loads(out.with_suffix(".json").read_text())
    assert kept["sections"]["second"]["measured"] == {"turns": 3}
    report.write(("# Speed", "As measured."), SECTIONS, kept, out)
    parts = out.read_text().split("\n\n")
    # In the report's order, whatever was measured first.
    assert parts[:4] == ["# Speed", "As measured.", "## The first", "5 turns"]
    assert parts[4].startswith("`python a.py first` on ")
    assert parts[5:7] == ["## The second", "3 laps"]
    assert parts[7] == "![A figure](images/speed.png)"
    assert (tmp_path / "new" / "images" / "speed.png").read_bytes()[:4] == b"\x89PNG"


def test_all_sections_are_measured_where_none_is_named(tmp_path):
    assert list(run((), 1, tmp_path / "a.md")["sections"]) == ["first", "second"]


def test_each_section_is_kept_at_once(tmp_path):
    def interrupted(options, say):
        raise KeyboardInterrupt

    out = tmp_path / "a.md"
    with pytest.raises(KeyboardInterrupt):
        run((), 1, out, {"first": measure, "second": interrupted})
    assert list(report.read(tmp_path / "a.json", {})["sections"]) == ["first"]


def test_what_another_process_kept_meanwhile_stays(tmp_path):
    def beside(options, say):
        run(["second"], 7, tmp_path / "a.md")
        return {"turns": 1}

    kept = run(["first"], 1, tmp_path / "a.md", {"first": beside})
    assert kept["sections"]["second"]["measured"] == {"turns": 7}


def test_unknown_sections_are_named_with_those_that_are_known(tmp_path):
    with pytest.raises(ConfigError, match="unknown section sixth, third") as error:
        run(["third", "first", "sixth"], 1, tmp_path / "a.md")
    assert error.value.hint == "sections: first, second"
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("content", ["", "{", "[1]", "3", '{"about": {}}', "\xff"])
def test_a_file_that_is_no_reports_is_refused_before_work(tmp_path, content):
    (tmp_path / "a.json").write_text(content, "latin-1")
    with pytest.raises(ConfigError, match=r"a\.json keeps no results of a report"):
        run(["first"], 1, tmp_path / "a.md", {})
    assert (tmp_path / "a.json").read_text("latin-1") == content


def test_other_settings_are_not_mixed_in_unless_overwritten(tmp_path):
    path = tmp_path / "a.json"
    report.keep(path, {"about": {"seed": 0}, "sections": {"first": {}}})
    assert report.read(path, {"seed": 0})["sections"] == {"first": {}}
    with pytest.raises(ConfigError, match="under other settings"):
        report.read(path, {"seed": 1})
    found = report.read(path, {"seed": 1}, overwrite=True)
    assert found == {"about": {"seed": 1}, "sections": {}}


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot write"):
        report.keep(tmp_path / "file" / "a.json", {})


def test_a_record_says_what_made_it(monkeypatch):
    monkeypatch.setattr(machine, "describe_host", lambda: "a machine")
    found = report.record({"n": 1}, "python a.py", 1.2345, "torch", "jax")
    assert (found["machine"], found["seconds"]) == ("a machine", 1.23)
    assert {"torch", "jax", "python"} <= found["versions"].keys()
    line = report.made_by([found, found | {"command": "python b.py"}])
    assert line.startswith("`python a.py` and `python b.py` on a machine; jax-inr ")
    assert line.count("a machine") == 1 and "python 3" not in line


def test_tables_are_markdown():
    lines = report.table(("a", "b"), (1, "x"), numbers=True).splitlines()
    assert lines == ["| a | b |", "| --- | ---: |", "| 1 | x |"]
    assert report.table(("a", "b")).splitlines()[1] == "| --- | --- |"


def test_the_host_is_named_with_the_cores_that_are_allowed(monkeypatch):
    monkeypatch.setattr(machine, "allowed_cores", lambda: 1)
    text = machine.describe_host()
    assert text.endswith(f", 1 cores, Python {platform.python_version()}")


# Docs


@pytest.mark.parametrize(
    ("name", "module"),
    [
        ("performance", benchmark),
        ("choosing", benchmark),
        ("parity", parity),
        ("spectral-bias", spectral_bias),
    ],
)
def test_the_report_in_docs_follows_from_its_json(tmp_path, name, module):
    kept = json.loads((ROOT / "docs" / f"{name}.json").read_text())
    module.write(kept, tmp_path / f"{name}.md")
    again = (tmp_path / f"{name}.md").read_text()
    assert again == (ROOT / "docs" / f"{name}.md").read_text()
    drawn = {path.name for path in (tmp_path / "images").glob("*")}
    assert drawn == {
        path.name
        for path in (ROOT / "docs" / "images").glob(f"{name}*")
        if path.suffix == ".png"
    }


def test_the_instruments_of_the_report_in_docs_hold():
    kept = json.loads((ROOT / "docs" / "spectral-bias.json").read_text())
    found = {n: record["measured"] for n, record in kept["sections"].items()}
    assert all(check.verdict == "holds" for check in checks.checks(found))


@pytest.mark.parametrize("kind", ["natural", "text"])
def test_the_comparison_in_docs_follows_from_its_json(kind):
    kept = json.loads((ROOT / "docs" / f"compare-{kind}.json").read_text())
    records = [
        {k: float(v) if k.endswith("_db") else v for k, v in record.items()}
        for record in kept["records"]
    ]
    comparison = compare.Comparison(kind)
    summary = compare.summarise(records, comparison)
    text = (ROOT / "docs" / "compare.md").read_text()
    for paragraph in compare.paragraphs(kept["about"], summary):
        assert paragraph in text
    assert f"images/compare-{kind}.jpg" in text
