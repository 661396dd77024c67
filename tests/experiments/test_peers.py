"""Other packages: the plain torch hash grid is ours, and absent ones are one line."""

import jax.numpy as jnp
import numpy as np
import pytest

from jax_inr.experiments.benchmark import like, peers
from jax_inr.experiments.benchmark.options import Options
from jax_inr.experiments.report import silent

torch = pytest.importorskip("torch")

from jax_inr.experiments.benchmark.torch_hash import HashGrid  # noqa: E402
from jax_inr.grids import HashGrid as OurGrid  # noqa: E402

pytestmark = pytest.mark.torch


def test_the_torch_hash_grid_has_our_grids_features():
    theirs = HashGrid(num_levels=3, entries=64, coarsest=4, finest=30)
    ours = OurGrid(theirs.resolutions, 2, 64)
    generator = torch.Generator().manual_seed(0)
    tables = {}
    for level, table in enumerate(theirs.tables):
        table.data = torch.randn(table.shape, generator=generator)
        shape = ours.table_shape(ours.resolutions[level])
        table = table.detach().numpy().reshape(shape)
        tables[f"grid_{level}"] = jnp.asarray(table)
    coords = torch.rand(50, 2, generator=generator)
    found = torch.cat(theirs.features(coords), -1).detach().numpy()
    for one, expected in zip(coords.numpy(), found, strict=True):
        got = ours.apply({"params": tables}, jnp.asarray(one))
        np.testing.assert_allclose(got, expected, atol=2e-5)


def test_the_torch_hash_grid_has_about_the_notebooks_number_of_parameters():
    count = sum(leaf.numel() for leaf in HashGrid().parameters())
    assert 0.75 * 66_691 < count <= 66_691


@pytest.mark.parametrize("name", ["hash grid, our size", "siren-pytorch, our size"])
def test_a_peer_of_our_size_learns(name, monkeypatch):
    if "siren" in name:
        pytest.importorskip("siren_pytorch")
    sample = peers._sample
    every = slice(None, None, 50)
    monkeypatch.setattr(peers, "_sample", lambda: tuple(x[every] for x in sample()))
    found = peers.fit_peer(name, {"steps": 20, "seconds": 60.0})
    assert 0.75 * 66_691 < found["num_params"] <= 66_691
    assert found["steps"] == 20 and found["rows"][-1][1] >= found["rows"][0][1]


def test_all_are_asked_for_the_same_seconds_and_absent_ones_are_said(monkeypatch):
    asked = {}

    def measured_by(kind, name, options, say):
        asked[name] = options.get("seconds", options.get("budget_seconds"))
        if kind == "fit":
            return {"num_params": 1000, "steps": 7, "psnr_db": 31.0}
        return None

    monkeypatch.setattr(like, "measured_by", measured_by)
    measured = like.measure(Options(), silent)
    assert {*asked.values()} == {like.SECONDS} and len(asked) == len(like.CONTENDERS)
    text = like.write(measured)
    assert "| `fast` | 1,000 | 7 | 31.00 |" in text
    assert "| siren-pytorch | missing here |" in text
    assert [*like.measure(Options(quick=True), silent)["runs"]] == [
        f"{kind} {name}" for kind, name, _ in like.CONTENDERS if name in like.QUICK
    ]
