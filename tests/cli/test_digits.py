"""`jax-inr digits` measures as it was told and prints the table."""

import pytest

from jax_inr.cli.main import main
from jax_inr.experiments.weights import digits

ROW = {"psnr_db": 31.25, "seconds": 2.0, "accuracy": 0.955, "test_fields": 20}


def test_the_table_is_of_what_was_asked(tmp_path, capsys, monkeypatch):
    def measure(out, images, labels, epochs, seeds):
        assert (out, epochs, seeds) == (tmp_path, 10_000, 100)  # the most
        assert images.shape == (60, 8, 8, 1) and len(labels) == 60
        return [{"init": "shared", **ROW}]

    pytest.importorskip("sklearn")
    monkeypatch.setattr(digits, "measure", measure)
    words = ["--count", "60", "--epochs", "10000", "--seeds", "100"]
    assert main(["digits", *words, "--out", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    assert out.endswith("| shared | 31.2 dB | 2 s | 95.5 % of 20 |\n")


@pytest.mark.parametrize(
    ("name", "low", "high"),
    [("count", 50, 1797), ("epochs", 1, 10_000), ("seeds", 1, 100)],
)
def test_a_number_out_of_range_is_refused(capsys, name, low, high):
    for number in (low - 1, high + 1):
        assert main(["digits", f"--{name}", str(number)]) == 2
        assert capsys.readouterr().err.startswith(f"error: {name} is {number}")
