"""The suite: problems from a seed, methods tuned on one half, judged on the other."""

import dataclasses
import json

import numpy as np
import pytest
import scipy.stats

from jax_inr.errors import ConfigError
from jax_inr.experiments.tasks import classical, problems, report, suite
from jax_inr.experiments.tasks.classical import Method
from jax_inr.experiments.tasks.suite import Kept, Named
from jax_inr.priors import PRIORS, SIREN, Prior
from jax_inr.restoring import Settings, restore
from jax_inr.tasks import measure


def scene(side=32, channels=3, seed=0):
    """A smooth image with an edge."""
    rows, columns = np.mgrid[:side, :side] / side
    base = 0.5 + 0.3 * np.sin(6 * rows + 4 * columns + seed)
    base = np.where(rows + columns > 1.2, 0.8 * base, base)
    image = np.stack([base * (1 - 0.1 * k) for k in range(channels)], axis=-1)
    return image.astype(np.float32)


@pytest.mark.parametrize("kind", problems.KINDS)
def test_a_problem_follows_its_seed_and_its_task_explains_the_truth(kind):
    first, again = (problems.make(kind, scene(), 3) for _ in range(2))
    other = problems.make(kind, scene(), 4)
    for name, value in first.measured.items():
        np.testing.assert_array_equal(value, again.measured[name])
    is_random = kind not in (
        "inpaint-text",
        "upscale-2",
        "upscale-4",
        "gradients",
        "laplacian",
    ) and not kind.startswith("tomography")
    same = all(
        np.array_equal(value, other.measured[name])
        for name, value in first.measured.items()
    )
    assert same != is_random
    assert first.task.shape == first.truth.shape
    assert first.judged.shape == first.truth.shape[:2]
    assert len(first.task.values) > 0


def test_shares_and_noise_are_what_their_names_say():
    image = np.full((64, 64, 3), 0.5, np.float32)
    for share in (20, 50):
        mask = problems.make(f"inpaint-{share}", image).measured["mask"]
        assert mask.sum() == round(share / 100 * mask.size)
    noisy = problems.make("denoise-gaussian", image).measured["image"]
    np.testing.assert_allclose((noisy - image).std(), 25 / 255, rtol=0.02)
    counts = problems.make("denoise-poisson", image).measured["image"] * 30
    np.testing.assert_allclose(counts, np.round(counts), atol=1e-9)
    np.testing.assert_allclose(counts.var(), 15, rtol=0.05)
    blurred = problems.make("deblur", image).measured["image"]
    np.testing.assert_allclose((blurred - image).std(), 1 / 255, rtol=0.02)
    covered = problems.text_overlay(256, 256).mean()
    assert 0.1 < covered < 0.4


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("kind", problems.KINDS)
def test_every_classical_method_restores_something_of_the_image(kind, channels):
    is_round = kind.startswith("tomography")
    image = suite.phantom(64).image if is_round else scene(channels=channels)
    problem = problems.make(kind, image, 0)
    for method in classical.methods(kind):
        middle = method.parameters[len(method.parameters) // 2]
        restored = method.restore(problem.measured, middle)
        assert restored.shape == problem.truth.shape
        found = suite.score(problem, restored)
        flat = suite.score(problem, np.full_like(problem.truth, problem.truth.mean()))
        assert found["psnr_db"] > flat["psnr_db"] + 1


def test_gradients_and_laplacians_without_noise_are_solved_exactly():
    for kind in ("gradients", "laplacian"):
        problem = problems.make(kind, scene(), 0)
        restored = classical.least_squares(problem.measured, None)
        settled = problem.settled(restored)
        np.testing.assert_allclose(settled, problem.truth, rtol=0, atol=1e-6)


def test_least_squares_is_the_solution_of_the_normal_equations():
    random = np.random.default_rng(0)
    height, width = 5, 7
    rows, columns = random.standard_normal((2, height, width, 1))
    rows[-1], columns[:, -1] = 0, 0
    units = np.eye(height * width).reshape(-1, height, width, 1)
    matrix = np.stack(
        [np.concatenate(measure.gradients(unit)).ravel() for unit in units], axis=1
    )
    wanted = np.concatenate([rows, columns]).ravel()
    expected = np.linalg.lstsq(matrix, wanted, rcond=None)[0]
    found = classical.least_squares({"rows": rows, "columns": columns}, None)
    np.testing.assert_allclose(found.ravel(), expected, atol=1e-10)


def test_scores_look_at_what_is_judged_alone():
    problem = problems.make("tomography-20", scene(32, 1))
    restored = problem.truth.copy()
    restored[~problem.judged] = 9
    assert suite.score(problem, restored)["psnr_db"] == np.inf
    open_one = problems.make("gradients", scene())
    assert suite.score(open_one, open_one.truth + 0.25)["psnr_db"] > 100
    closed = problems.make("upscale-2", scene())
    off = suite.score(closed, np.clip(closed.truth - 0.1, 0, 1))["psnr_db"]
    np.testing.assert_allclose(off, 20, atol=0.5)


def biased(seen, size):
    return seen["image"] + size


METHODS = (Method("biased", biased, (0.2, -0.05, 0.1)), Method("plain", biased, (0,)))
IMAGES = [Named(f"image{k}", scene(seed=k)) for k in range(5)]


def test_a_parameter_is_chosen_on_the_images_that_are_not_judged(tmp_path):
    kept = Kept(tmp_path, "denoise-gaussian", {"command": "", "machine": ""}, False)
    found = suite.run("denoise-gaussian", IMAGES, kept, rows=METHODS)
    assert found["tuned_on"] == ["image0", "image2", "image4"]
    assert found["judged_on"] == ["image1", "image3"]
    row = found["rows"]["biased"]
    assert row["parameter"] == "-0.05" and len(row["tried_db"]) == 3
    assert [r["image"] for r in row["records"]] == ["image1", "image3", "text"]
    # The numbers are those of the chosen parameter, worked out here by hand.
    problem = problems.make("denoise-gaussian", IMAGES[1].image)
    noisy = np.clip(problem.measured["image"] - 0.05, 0, 1)
    expected = -10 * np.log10(np.mean((noisy - problem.truth) ** 2))
    np.testing.assert_allclose(row["records"][0]["psnr_db"], expected, rtol=1e-6)


def test_a_second_run_goes_on_and_the_report_comes_from_the_json_alone(tmp_path):
    calls = []

    def counted(seen, size):
        calls.append(size)
        return seen["image"] + size

    rows = (Method("biased", counted, (0.1, -0.05)), Method("plain", counted, (0,)))
    about = {"command": "jax-inr compare X --task upscale-2", "machine": "M"}
    for _ in range(2):
        kept = Kept(tmp_path, "denoise-gaussian", about, False)
        suite.run("denoise-gaussian", IMAGES[:4], kept, rows=rows)
    # Tuned, judged with a text beside, judged with a text beside; once each.
    assert len(calls) == 2 * 2 + 3 + 3
    text = report.write(tmp_path).read_text()
    assert "`-0.05`" in text and "jax-inr compare X --task upscale-2" in text
    assert (tmp_path / "images" / "tasks-denoise-gaussian.jpg").exists()
    assert report.write(tmp_path).read_text() == text
    path = tmp_path / "tasks-denoise-gaussian.json"
    whole = json.loads(path.read_text())
    whole["summary"]["rows"]["plain"]["records"][0]["psnr_db"] = 77.77
    path.write_text(json.dumps(whole))
    assert "77.77" in report.write(tmp_path).read_text()


def test_what_stands_beside_the_photographs_is_in_no_mean(tmp_path):
    """The text is far better restored here, and shows in its own column alone."""
    rows = (Method("plain", biased, (0,)), Method("off", biased, (0.1,)))
    kept = Kept(tmp_path, "upscale-2", {"command": "", "machine": ""}, False)
    rows = tuple(
        method._replace(
            restore=lambda seen, p: np.repeat(np.repeat(seen["image"] + p, 2, 0), 2, 1)
        )
        for method in rows
    )
    summary = suite.run("upscale-2", IMAGES[:4], kept, rows=rows)
    assert summary["beside"] == ["text"]
    for record in summary["rows"]["plain"]["records"]:
        if record["image"] == "text":
            record["psnr_db"] = 99.0
    text = report.markdown(summary, {"command": "", "machine": ""})
    judged = list(report.psnrs(summary["rows"]["plain"], ["image1", "image3"]).values())
    assert f"| plain | `0` | {np.mean(judged):.2f} |" in text
    assert "| 99.00 |" in text and "2 of 2" in text and "3 of 3" not in text


@pytest.mark.parametrize("kind", ["inpaint-20", "tomography-20", "gradients"])
def test_each_kind_has_something_beside_the_photographs(kind):
    (one,) = suite.extras(kind, 32)
    assert one.name == {"i": "text", "t": "phantom", "g": "cat"}[kind[0]]
    assert max(one.image.shape[:2]) == 32 and one.image.min() >= 0


@pytest.mark.slow
def test_our_rows_are_of_the_same_fits_and_the_oracle_chooses_among_their_stages(
    tmp_path, monkeypatch
):
    from jax_inr.experiments.tasks import ours

    small = Prior(
        SIREN.replace(batch_size=16, steps=16), weight=0.01, points=4, fields=2
    )
    monkeypatch.setitem(PRIORS, "inpaint", small)
    problem = problems.make("inpaint-50", scene(16))
    found = ours.stages("inpaint-50", problem.measured)
    # An image for each eighth of the steps, and those of the start and the end.
    assert found.shape == (2, ours.STAGES + 2, 16, 16, 3)
    # The last stage is what `restore` gives with the same settings.
    task = small.penalised(problem.task)
    restored = restore(task, Settings(config=small.config(16, 16)), (0, 1))
    np.testing.assert_allclose(found[:, -1].mean(0), restored.image, atol=1e-5)
    monkeypatch.setattr(ours, "stages", lambda kind, seen: found)
    field, ensemble = ours.methods("inpaint-50")
    for method, count in ((field, 1), (ensemble, 2)):
        answer = ours.Fields("inpaint-50").answer(problem.measured, count)
        np.testing.assert_allclose(answer.image, found[:count, -1].mean(0), atol=1e-6)
        assert method.parameters == (None,)
    kept = Kept(tmp_path, "inpaint-50", {}, False)
    record = suite.attempt("inpaint-50", Named("a", scene(16)), field, None, 0, kept)
    scores = [suite.score(problem, image)["psnr_db"] for image in found[0]]
    np.testing.assert_allclose(record["oracle_psnr_db"], max(scores))
    np.testing.assert_allclose(record["psnr_db"], scores[-1])
    # Another prior is another method, whose records are not these.
    again = suite.attempt("inpaint-50", Named("a", scene(16)), field, None, 0, kept)
    assert again["key"] == record["key"]
    monkeypatch.setitem(PRIORS, "inpaint", dataclasses.replace(small, weight=0.02))
    other = suite.attempt("inpaint-50", Named("a", scene(16)), field, None, 0, kept)
    assert other["key"] != record["key"]


def test_intervals_are_students_of_the_pairs():
    first, second = [20.0, 25.0, 31.0, 22.0], [19.0, 24.5, 30.0, 22.5]
    mean, low, high = report.paired(first, second)
    differences = np.subtract(first, second)
    half = scipy.stats.t.ppf(0.975, 3) * differences.std(ddof=1) / 2
    np.testing.assert_allclose([mean, low, high], [0.5, 0.5 - half, 0.5 + half])
    assert report.paired([1.0], [2.0])[1:] == (-np.inf, np.inf)


def test_what_cannot_be_compared_is_said():
    with pytest.raises(ConfigError, match="unknown task 'inpaint-30'"):
        problems.make("inpaint-30", scene())
    with pytest.raises(ConfigError, match="1 image"):
        suite.halves(IMAGES[:1])
    with pytest.raises(ConfigError, match="unknown row BM3D of deblur"):
        suite.check_rows("deblur", ["BM3D"])
    assert [m.name for m in suite.check_rows("upscale-4", ["Lanczos"])] == ["Lanczos"]
    parts = suite.prepared("tomography-20", [Named("a", scene()[:, :19])], 256)
    assert parts[0].image.shape == (16, 16, 3)
