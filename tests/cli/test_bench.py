"""`jax-inr bench` hands what was asked to the sections."""

from jax_inr.cli.main import main
from jax_inr.experiments.benchmark import options, report


def test_sections_get_the_words_and_the_report_is_named(tmp_path, capsys, monkeypatch):
    calls = []
    monkeypatch.setattr(report, "measure", lambda *words: calls.append(words))
    out = tmp_path / "report.md"
    words = ["--turns", "3", "--images", "folder", "--budget-seconds", "7", "--quick"]
    assert main(["bench", "steps", "race", *words, "--out", str(out)]) == 0
    ((sections, asked, path, _),) = calls
    assert sections == ("steps", "race") and path == out
    assert asked == options.Options(3, True, type(out)("folder"), 7.0)
    assert capsys.readouterr().out == f"written to {out}\n"
