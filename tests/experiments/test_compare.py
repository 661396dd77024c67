"""The comparison: its protocol, its numbers, what it keeps and what it refuses."""

import contextlib
import json

import numpy as np
import pytest
import scipy.stats
from conftest import run_script

from jax_inr import tasks
from jax_inr.cost import job_bytes
from jax_inr.errors import ConfigError, ImageError
from jax_inr.experiments.compare import protocol, report
from jax_inr.experiments.compare.protocol import ROWS, Comparison, measure
from jax_inr.experiments.compare.store import Store, pixels_hash, read_images
from jax_inr.fitting import fit_many
from jax_inr.io.images import Image, encode_png, load_image
from jax_inr.job import make_job
from jax_inr.model import make_model

RANDOM = np.random.default_rng(5)
QUICK = ("none", "bilinear", "bicubic")


def save(path, shape=(8, 10, 3)):
    path.write_bytes(encode_png(RANDOM.random(shape, dtype=np.float32)))


@pytest.fixture
def folder(tmp_path):
    """Three good images of two shapes, a cut one, a text, a hidden file."""
    path = tmp_path / "images"
    (path / "more").mkdir(parents=True)
    save(path / "a.png")
    save(path / "b.png", (9, 6, 3))
    save(path / "c.png")
    data = (path / "a.png").read_bytes()
    (path / "cut.png").write_bytes(data[: len(data) // 2])
    (path / "notes.txt").write_text("no image")
    (path / ".hidden.png").write_bytes(data)
    return path


def read(folder, said=None):
    say = said.append if said is not None else lambda text: None
    return read_images(str(folder), None, None, 10**6, say)


@pytest.fixture
def fits(monkeypatch):
    """Fits that give the image back, none slightly darker; what was fitted."""
    calls = []

    def fit(row, config, comparison, images, device, on_progress):
        calls.append((row, [image.path[-5:] for image in images]))
        # Upsampling gives some pixels back as they were: infinitely many decibels.
        factor = np.where(row == "none", 0.9, 1.0)
        return [(factor * image.image, {}) for image in images]

    monkeypatch.setattr(protocol, "_fit", fit)
    return calls


SHORT = Comparison(steps=2)


def run(images, out, comparison=SHORT, rows=QUICK, said=None, **how):
    store = Store(str(out), rows, how.pop("overwrite", False))
    say = said.append if said is not None else lambda text: None
    how = {"device": "cpu", "at_once": None, **how}
    return protocol.run(
        images,
        comparison,
        store,
        rows=rows,
        say=say,
        display=lambda title: contextlib.nullcontext(lambda progress: None),
        **how,
    )


# The protocol


@pytest.mark.parametrize(
    ("kind", "rate", "largest", "sigma"),
    [("natural", 1e-2, 63, 10), ("text", 1e-3, 31, 14)],
)
def test_the_protocol_is_that_of_the_papers_code(kind, rate, largest, sigma):
    configs = protocol.protocol(Comparison(kind), 512, 512)
    rates = [configs[row].learning_rate for row in protocol.PAPER]
    assert rates == [rate, rate, 1e-3, 1e-3]
    for row, inputs in (
        ("none", 2),
        ("basic", 4),
        ("positional", 512),
        ("gaussian", 512),
    ):
        config = configs[row]
        features = make_model(config, 512, 512, 3).encoding.num_features
        assert (config.encoding, features) == (row, inputs)
        assert (config.optimizer, config.beta2, config.schedule) == (
            "adam",
            0.999,
            "constant",
        )
        assert (config.steps, config.batch_size, config.init) == (2000, None, "glorot")
        assert (config.train_pixels, config.rgb_max) == ("alternate", 255)
        widths = (config.hidden_features, config.network, config.activation)
        assert widths == ((256, 256, 256), "mlp", "relu")
    assert 2 ** configs["positional"].octaves - 1 == largest
    assert configs["gaussian"].sigma == sigma
    assert len({config.seed for config in configs.values()}) == 1


def test_frequencies_keep_their_cycles_per_pixel():
    whole, part = (
        protocol.protocol(Comparison("text"), *s) for s in ((512, 512), (256, 64))
    )
    # A quarter of 512 in the geometric mean.
    sigmas = [each["gaussian"].number("sigma") for each in (part, whole)]
    assert sigmas[0] == pytest.approx(sigmas[1] / 4)
    assert 2 ** part["positional"].octaves - 1 == pytest.approx(31 / 4)


def test_a_budget_is_a_tenth_of_the_pixels_and_nothing_else():
    whole, tenth = (
        protocol.protocol(Comparison(), 64, 48),
        protocol.protocol(Comparison(budget=True), 64, 48),
    )
    for row, config in tenth.items():
        assert config.batch_size == 64 * 48 // 4 // 10
        alike = whole[row].replace(batch_size=76, eval_every=2000)
        assert config == alike


def test_sixteen_images_of_the_paper_fit_in_two_gibibytes():
    """Features of 65,536 pixels, and the activations of a tile."""
    config = protocol.protocol(Comparison(), 512, 512)["gaussian"]
    image = np.zeros((512, 512, 3), np.float32)
    job = make_job(tasks.from_config(config, image), config)
    assert job_bytes(job) < 2**31


@pytest.mark.slow
def test_ridge_has_the_frequencies_of_the_fit(image):
    config = protocol.protocol(Comparison(steps=1), 12, 17)["gaussian"]
    small = config.replace(hidden_features=(2,))
    fitted = fit_many([image], small)[0].tensors["constants/frequencies"]
    np.testing.assert_allclose(protocol.frequencies(config), fitted, rtol=1e-6)
    assert make_model(config, 1, 1, 1).per_pixel


# Numbers


def test_the_four_numbers_of_a_fit_are_those_of_their_pixels(image):
    prediction = RANDOM.normal(0.5, 0.5, image.shape)
    error = (np.clip(prediction, 0, 1) - image) ** 2
    rows, columns = np.mgrid[:12, :17] % 2
    trained = (rows == 0) & (columns == 0)
    parts = {
        "test_psnr_db": (rows == 1) & (columns == 1),
        "heldout_psnr_db": ~trained,
        "train_psnr_db": trained,
        "psnr_db": rows >= 0,
    }
    found = measure(prediction, image)
    assert found.keys() == parts.keys()
    for name, part in parts.items():
        assert found[name] == pytest.approx(
            -10 * np.log10(error[part].mean()), abs=1e-5
        )


def test_the_interval_is_students():
    differences = RANDOM.normal(1, 2, 9)
    mean, half = report.student_interval(differences)
    expected = scipy.stats.ttest_1samp(differences, 0).confidence_interval(0.95)
    assert (mean - half, mean + half) == pytest.approx(tuple(expected), rel=1e-9)
    assert report.student_interval(differences[:1])[1] == np.inf


def record(row, pixels, psnr_db):
    numbers = dict.fromkeys(("train_psnr_db", "heldout_psnr_db"), psnr_db)
    return {
        "row": row,
        "test_psnr_db": psnr_db,
        "recipe": {"pixels": pixels},
        **numbers,
    }


def test_differences_are_paired_by_image():
    records = [record("none", p, x) for p, x in (("a", 20.0), ("b", 30.0), ("c", 25.0))]
    # In another order, and one image less.
    records += [record("gaussian", p, x) for p, x in (("b", 33.0), ("a", 22.0))]
    summary = report.summarise(records, Comparison())
    (found,) = summary["differences"]
    assert found["of"] == ["gaussian", "none"]
    assert found["wins"] == found["images"] == 2
    assert found["mean_db"] == pytest.approx(2.5)
    assert summary["rows"]["none"]["mean_db"] == pytest.approx(25.0)
    assert summary["rows"]["none"]["deviation_db"] == pytest.approx(5.0)


def test_the_interval_of_a_difference_is_students_and_a_tie_is_no_win():
    gains = [3.0, 0.0, -1.0, 0.0, 2.0]
    records = [record("none", str(i), 20.0 + i) for i in range(5)]
    records += [
        record("gaussian", str(i), 20.0 + i + gain) for i, gain in enumerate(gains)
    ]
    (found,) = report.summarise(records, Comparison())["differences"]
    expected = scipy.stats.ttest_1samp(gains, 0).confidence_interval(0.95)
    assert tuple(found["interval_db"]) == pytest.approx(tuple(expected))
    assert (found["wins"], found["images"]) == (2, 5)
    low, high = expected
    assert report.difference_cells(found) == [
        "gaussian - none",
        "+0.80",
        f"{low:+.2f} to {high:+.2f}",
        "2 of 5",
    ]
    (single,) = report.summarise(
        [record("none", "a", 1.0), record("basic", "a", 3.0)], Comparison()
    )["differences"]
    assert report.difference_cells(single)[2] == "–"


def test_images_without_any_error_are_ties_and_have_no_deviation():
    inf = float("inf")
    records = [record("none", p, x) for p, x in (("a", inf), ("b", 20.0), ("c", inf))]
    records += [record("basic", p, x) for p, x in (("a", inf), ("b", inf), ("c", 9.0))]
    summary = report.summarise(records[:2] + records[3:5], Comparison())
    (found,) = summary["differences"]
    assert (found["wins"], found["images"], found["mean_db"]) == (1, 2, inf)
    assert report.difference_cells(found)[1:3] == ["+inf", "–"]
    assert report.row_cells(summary, "none")[1:3] == ["inf", "–"]
    # Better without bound on one image, worse on another: nothing is known.
    (found,) = report.summarise(records, Comparison())["differences"]
    assert report.difference_cells(found)[1:] == ["+nan", "–", "1 of 3"]


def test_every_step_of_the_papers_order_and_of_what_it_leaves_out_is_a_pair():
    records = [record(row, p, 1.0) for row in ROWS for p in ("a", "b")]
    found = report.summarise(records, Comparison())["differences"]
    assert [tuple(difference["of"]) for difference in found] == [
        ("basic", "none"),
        ("positional", "basic"),
        ("gaussian", "positional"),
        ("gaussian", "none"),
        ("ridge", "gaussian"),
        ("bicubic", "gaussian"),
        ("ours", "gaussian"),
        ("ours", "bicubic"),
    ]


def test_each_number_stands_under_its_head():
    found = [
        record("gaussian", name, test)
        | {"train_psnr_db": 40.0 + i, "heldout_psnr_db": 30.0 + i}
        | {"seconds": {"fit": 2.0 + i, "compile": 100.0}}
        for i, (name, test) in enumerate((("a", 21.0), ("b", 25.0)))
    ]
    summary = report.summarise(found, Comparison())
    cells = dict(
        zip(report.ROW_HEAD, report.row_cells(summary, "gaussian"), strict=True)
    )
    assert cells == {
        "": "gaussian",
        "test": "23.00",
        "deviation": "2.83",  # the root of 8 over n - 1
        "published": "25.57",
        "held out": "30.50",
        "trained": "40.50",
        "seconds": "5",
    }
    text = report.paragraphs(
        {"command": "c", "sizes": ["4x4"], **Comparison()._asdict()}, summary
    )[4]
    assert text.splitlines()[0] == f"| {' | '.join(report.ROW_HEAD)} |"
    assert text.splitlines()[2] == f"| {' | '.join(cells.values())} |"


def test_published_means_are_those_of_the_kind():
    summary = report.summarise([record("none", "a", 1.0)], Comparison("text"))
    assert report.row_cells(summary, "none")[3] == "18.40"
    assert report.row_cells(summary, "none")[2:7:4] == ["–", "–"]


# What is kept


def test_an_image_is_told_from_one_of_the_same_bytes_and_another_shape():
    pixels = np.zeros((4, 6, 1), np.float32)
    hashes = {
        pixels_hash(Image(pixels.reshape(shape), "a", "", ()))
        for shape in ((4, 6, 1), (6, 4, 1), (2, 4, 3), (8, 1, 3))
    }
    assert len(hashes) == 4


def test_no_record_is_kept_of_an_image_that_is_not(folder, tmp_path, monkeypatch):
    """A kill between the two files leaves the image alone: the fit is made again."""
    (image, *_) = read(folder)
    store = Store(str(tmp_path / "out"), ["none"], False)

    def killed(path, value):
        raise KeyboardInterrupt

    monkeypatch.setattr("jax_inr.experiments.compare.store.keep", killed)
    with pytest.raises(KeyboardInterrupt):
        store.write("none", image, {"recipe": {}}, image.image)
    (path,) = (tmp_path / "out" / "fits" / "none").iterdir()
    assert path.suffix == ".png"
    np.testing.assert_allclose(store.prediction("none", image), image.image, atol=0.01)
    assert store.read("none", image, {}) is None


def test_a_second_run_fits_nothing(folder, tmp_path, fits):
    images = read(folder)
    first = run(images, tmp_path / "out")
    assert len(fits) == len(QUICK) * 2  # two shapes
    assert [r["row"] for r in first] == [row for row in QUICK for _ in range(3)]
    count = len(fits)
    assert run(images, tmp_path / "out") == first
    assert len(fits) == count


def test_what_differs_is_fitted_again(folder, tmp_path, fits):
    images, out = read(folder), tmp_path / "out"
    run(images, out)
    del fits[:]
    run(images, out, Comparison(steps=3))
    assert {row for row, _ in fits} == {"none"}  # steps are nothing to upsampling
    del fits[:]
    other = images[0]._replace(image=1 - images[0].image)
    run([other, *images[1:]], out, Comparison(steps=3))
    assert fits == [(row, ["a.png"]) for row in QUICK]
    del fits[:]
    run(images, out, overwrite=True)
    assert len(fits) == len(QUICK) * 2


@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b'{"recipe": 3}', b"\xff\xfe"])
def test_a_damaged_record_is_made_again(folder, tmp_path, fits, damage):
    images, out = read(folder), tmp_path / "out"
    first = run(images, out)
    (path,) = (out / "fits" / "bicubic").glob("c-*.json")
    path.write_bytes(damage)
    del fits[:]
    assert run(images, out) == first
    assert fits == [("bicubic", ["c.png"])]


def test_an_interrupted_run_keeps_what_was_finished(
    folder, tmp_path, fits, monkeypatch
):
    images, out, fit = read(folder), tmp_path / "out", protocol._fit

    def interrupted(*arguments):
        if len(fits) == 4:
            raise KeyboardInterrupt
        return fit(*arguments)

    monkeypatch.setattr(protocol, "_fit", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run(images, out, at_once=1)
    done = fits.copy()
    assert len(done) == 4
    del fits[:]
    monkeypatch.setattr(protocol, "_fit", fit)
    run(images, out, at_once=1)
    assert not [call for call in fits if call in done]
    made = sorted((row, name) for row, names in done + fits for name in names)
    assert made == sorted((row, p.path[-5:]) for row in QUICK for p in images)


def test_programs_are_of_nearly_equal_size(tmp_path, fits):
    images = [
        Image(RANDOM.random((4, 4, 3), dtype=np.float32), f"{i:05}", "", ())
        for i in range(7)
    ]
    run(images, tmp_path / "out", rows=("none",), at_once=5)
    assert [len(names) for _, names in fits] == [4, 3]
    fitted = [name for _, names in fits for name in names]
    assert fitted == [image.path for image in images]


# What is said and refused


def test_good_images_go_on_beside_bad_ones(folder, tmp_path, fits):
    said: list[str] = []
    images = read(folder, said)
    assert [image.path[-5:] for image in images] == ["a.png", "b.png", "c.png"]
    assert len(said) == 2 and all("\n" not in text for text in said)
    assert "cut.png" in said[0] and "notes.txt" in said[1]
    del said[:]
    run(images, tmp_path / "out", said=said)
    assert "2 of 8x10x3, 1 of 9x6x3" in said[0] and "odd side" in said[1]


def test_what_has_no_pixel_to_test_is_left_out(folder):
    save(folder / "line.png", (1, 9, 3))
    said: list[str] = []
    assert len(read(folder, said)) == 3
    assert any("line.png: 1x9 has no odd row" in text for text in said)


def test_a_crop_is_the_middle(folder):
    wide = {
        p.path[-5:]: p.image for p in read_images(str(folder), None, None, 99, print)
    }
    part = {p.path[-5:]: p.image for p in read_images(str(folder), None, 7, 99, print)}
    np.testing.assert_array_equal(part["a.png"], wide["a.png"][:7, 1:8])
    np.testing.assert_array_equal(part["b.png"], wide["b.png"][1:8])


def test_a_comparison_never_takes_its_own_files_for_images(folder, fits):
    """`compare.py FOLDER --out FOLDER`, twice."""
    store, said = Store(str(folder), QUICK, False), []
    images = read(folder)
    for _ in range(2):
        records = run(images, folder)
        report.write(images, records, SHORT, store, "python scripts/compare.py")
        again = read_images(str(folder), None, None, 10**6, said.append, str(folder))
        assert [i.path for i in again] == [i.path for i in images]
    assert (folder / "images" / "compare-natural.png").exists()
    assert (folder / "compare-natural.json").exists()
    # Nor are they said to be bad images; what is one still is.
    assert not any("compare-natural" in text for text in said)
    assert any("notes.txt" in text for text in said)


def test_a_folder_without_images_is_refused(tmp_path):
    for name in ("absent", "."):
        with pytest.raises(ImageError):
            read(tmp_path / name)


def test_unknown_rows_are_named():
    assert protocol.check_rows(()) == ROWS
    assert protocol.check_rows(("bicubic", "none")) == ("none", "bicubic")
    with pytest.raises(ConfigError, match="unknown row siren"):
        protocol.check_rows(("none", "siren"))


# The command


@pytest.mark.slow
def test_the_command_writes_table_figure_and_numbers(folder, tmp_path):
    rows = ("none", "gaussian", "ridge", "bicubic")
    arguments = ["images", "--out", "out", "--steps", "2", "--rows", *rows]
    result = run_script("compare.py", *arguments, "--device", "cpu", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert all(line.startswith("notice: ") for line in result.stderr.splitlines())
    found = json.loads((tmp_path / "out/compare-natural.json").read_text())
    assert list(found["rows"]) == list(rows)
    assert all(numbers["images"] == 3 for numbers in found["rows"].values())
    text = (tmp_path / "out/compare-natural.md").read_text()
    for row, numbers in found["rows"].items():
        assert f"| {row} | {numbers['mean_db']:.2f} |" in text
    assert "19.32" in text and "| gaussian - none |" in text
    assert load_image(tmp_path / "out/images/compare-natural.png").image.shape[0] > 100
    for line in found["records"]:
        assert line["image"] in ("a.png", "b.png", "c.png")
    # The trained quarter is what bicubic takes as it is.
    bicubic = [r for r in found["records"] if r["row"] == "bicubic"]
    assert all(r["train_psnr_db"] == "inf" or r["train_psnr_db"] > 100 for r in bicubic)


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("empty",), 3, "empty: no image in it can be used"),
        (("absent",), 3, "absent: no such file or directory"),
        (("empty", "--rows", "siren"), 2, "unknown row siren"),
        (("empty", "--steps", "0"), 2, "steps is 0"),
        ((), 2, "folder"),
    ],
)
def test_mistakes_are_one_line(tmp_path, arguments, code, message):
    (tmp_path / "empty").mkdir()
    result = run_script("compare.py", *arguments, cwd=tmp_path)
    assert result.returncode == code
    assert result.stderr.count("\n") == 1 and message in result.stderr.lower()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty"]
