"""The comparison: its protocol, its numbers, what it keeps and what it refuses."""

import contextlib
import json

import numpy as np
import pytest
import scipy.stats
from conftest import run_script
from jax_inr.many import fit_many, fits_bytes

from jax_inr.errors import ConfigError, ImageError
from jax_inr.experiments.compare import protocol, report
from jax_inr.experiments.compare.protocol import ROWS, Task, measure
from jax_inr.experiments.compare.store import Store, read_pictures
from jax_inr.io.images import Picture, encode_png, load_image
from jax_inr.networks import make_model

RANDOM = np.random.default_rng(5)
QUICK = ("none", "bilinear", "bicubic")


def save(path, shape=(8, 10, 3)):
    path.write_bytes(encode_png(RANDOM.random(shape, dtype=np.float32)))


@pytest.fixture
def folder(tmp_path):
    """Three good pictures of two shapes, a cut one, a text, a hidden file."""
    path = tmp_path / "pictures"
    (path / "more").mkdir(parents=True)
    save(path / "a.png")
    save(path / "b.png", (9, 6, 3))
    save(path / "c.png")
    data = (path / "a.png").read_bytes()
    (path / "cut.png").write_bytes(data[: len(data) // 2])
    (path / "notes.txt").write_text("no picture")
    (path / ".hidden.png").write_bytes(data)
    return path


def read(folder, said=None):
    say = said.append if said is not None else lambda text: None
    return read_pictures(str(folder), None, None, 10**6, say)


@pytest.fixture
def fits(monkeypatch):
    """Fits that give the picture back, none slightly darker; what was fitted."""
    calls = []

    def fit(row, config, task, pictures, device, on_progress):
        calls.append((row, [picture.path[-5:] for picture in pictures]))
        # Upsampling gives some pixels back as they were: infinitely many decibels.
        factor = np.where(row == "none", 0.9, 1.0)
        return [(factor * picture.image, {}) for picture in pictures]

    monkeypatch.setattr(protocol, "_fit", fit)
    return calls


SHORT = Task(steps=2)


def run(pictures, out, task=SHORT, rows=QUICK, said=None, **how):
    store = Store(str(out), rows, how.pop("overwrite", False))
    say = said.append if said is not None else lambda text: None
    how = {"device": "cpu", "at_once": None, **how}
    return protocol.run(
        pictures,
        task,
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
    configs = protocol.protocol(Task(kind), 512, 512)
    rates = [configs[row].learning_rate for row in protocol.PAPER]
    assert rates == [rate, rate, 1e-3, 1e-3]
    for row, inputs in (
        ("none", 2),
        ("basic", 4),
        ("positional", 512),
        ("gaussian", 512),
    ):
        config = configs[row]
        assert (config.encoding, config.num_features) == (row, inputs)
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
    whole, part = (protocol.protocol(Task("text"), *s) for s in ((512, 512), (256, 64)))
    # A quarter of 512 in the geometric mean.
    assert part["gaussian"].sigma == pytest.approx(whole["gaussian"].sigma / 4)
    assert 2 ** part["positional"].octaves - 1 == pytest.approx(31 / 4)


def test_a_budget_is_a_tenth_of_the_pixels_and_nothing_else():
    whole, tenth = (
        protocol.protocol(Task(), 64, 48),
        protocol.protocol(Task(budget=True), 64, 48),
    )
    for row, config in tenth.items():
        assert config.batch_size == 64 * 48 // 4 // 10
        alike = whole[row].replace(batch_size=76, eval_every=2000)
        assert config == alike


def test_sixteen_pictures_of_the_paper_fit_in_a_gibibyte():
    """The features of 65,536 pixels are there once, and activations of a tile."""
    config = protocol.protocol(Task(), 512, 512)["gaussian"]
    assert fits_bytes([config] * 16, (512, 512, 3)) < 2**30


def test_ridge_has_the_frequencies_of_the_fit(image):
    config = protocol.protocol(Task(steps=1), 12, 17)["gaussian"]
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


def test_differences_are_paired_by_picture():
    records = [record("none", p, x) for p, x in (("a", 20.0), ("b", 30.0), ("c", 25.0))]
    # In another order, and one picture less.
    records += [record("gaussian", p, x) for p, x in (("b", 33.0), ("a", 22.0))]
    summary = report.summarise(records, Task())
    (one,) = summary["differences"]
    assert one["of"] == ["gaussian", "none"] and one["wins"] == one["pictures"] == 2
    assert one["mean_db"] == pytest.approx(2.5)
    assert summary["rows"]["none"]["mean_db"] == pytest.approx(25.0)
    assert summary["rows"]["none"]["deviation_db"] == pytest.approx(5.0)


# What is kept


def test_a_second_run_fits_nothing(folder, tmp_path, fits):
    pictures = read(folder)
    first = run(pictures, tmp_path / "out")
    assert len(fits) == len(QUICK) * 2  # two shapes
    assert [r["row"] for r in first] == [row for row in QUICK for _ in range(3)]
    count = len(fits)
    assert run(pictures, tmp_path / "out") == first
    assert len(fits) == count


def test_what_differs_is_fitted_again(folder, tmp_path, fits):
    pictures, out = read(folder), tmp_path / "out"
    run(pictures, out)
    del fits[:]
    run(pictures, out, Task(steps=3))
    assert {row for row, _ in fits} == {"none"}  # steps are nothing to upsampling
    del fits[:]
    other = pictures[0]._replace(image=1 - pictures[0].image)
    run([other, *pictures[1:]], out, Task(steps=3))
    assert fits == [(row, ["a.png"]) for row in QUICK]
    del fits[:]
    run(pictures, out, overwrite=True)
    assert len(fits) == len(QUICK) * 2


@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b'{"recipe": 3}', b"\xff\xfe"])
def test_a_damaged_record_is_made_again(folder, tmp_path, fits, damage):
    pictures, out = read(folder), tmp_path / "out"
    first = run(pictures, out)
    (path,) = (out / "fits" / "bicubic").glob("c-*.json")
    path.write_bytes(damage)
    del fits[:]
    assert run(pictures, out) == first
    assert fits == [("bicubic", ["c.png"])]


def test_an_interrupted_run_keeps_what_was_finished(
    folder, tmp_path, fits, monkeypatch
):
    pictures, out, fit = read(folder), tmp_path / "out", protocol._fit

    def interrupted(*arguments):
        if len(fits) == 4:
            raise KeyboardInterrupt
        return fit(*arguments)

    monkeypatch.setattr(protocol, "_fit", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run(pictures, out, at_once=1)
    done = fits.copy()
    assert len(done) == 4
    del fits[:]
    monkeypatch.setattr(protocol, "_fit", fit)
    run(pictures, out, at_once=1)
    assert not [call for call in fits if call in done]
    made = sorted((row, name) for row, names in done + fits for name in names)
    assert made == sorted((row, p.path[-5:]) for row in QUICK for p in pictures)


def test_programs_are_of_nearly_equal_size(tmp_path, fits):
    pictures = [
        Picture(RANDOM.random((4, 4, 3), dtype=np.float32), f"{i:05}", "", ())
        for i in range(7)
    ]
    run(pictures, tmp_path / "out", rows=("none",), at_once=5)
    assert [len(names) for _, names in fits] == [4, 3]
    fitted = [name for _, names in fits for name in names]
    assert fitted == [picture.path for picture in pictures]


# What is said and refused


def test_good_pictures_go_on_beside_bad_ones(folder, tmp_path, fits):
    said: list[str] = []
    pictures = read(folder, said)
    assert [picture.path[-5:] for picture in pictures] == ["a.png", "b.png", "c.png"]
    assert len(said) == 2 and all("\n" not in text for text in said)
    assert "cut.png" in said[0] and "notes.txt" in said[1]
    del said[:]
    run(pictures, tmp_path / "out", said=said)
    assert "2 of 8x10x3, 1 of 9x6x3" in said[0] and "odd side" in said[1]


def test_what_has_no_pixel_to_test_is_left_out(folder):
    save(folder / "line.png", (1, 9, 3))
    said: list[str] = []
    assert len(read(folder, said)) == 3
    assert any("line.png: 1x9 has no odd row" in text for text in said)


def test_a_crop_is_the_middle(folder):
    wide = {
        p.path[-5:]: p.image for p in read_pictures(str(folder), None, None, 99, print)
    }
    part = {
        p.path[-5:]: p.image for p in read_pictures(str(folder), None, 7, 99, print)
    }
    np.testing.assert_array_equal(part["a.png"], wide["a.png"][:7, 1:8])
    np.testing.assert_array_equal(part["b.png"], wide["b.png"][1:8])


def test_a_folder_without_pictures_is_refused(tmp_path):
    for name in ("absent", "."):
        with pytest.raises(ImageError):
            read(tmp_path / name)


def test_unknown_rows_are_named():
    assert protocol.check_rows(()) == ROWS
    assert protocol.check_rows(("bicubic", "none")) == ("none", "bicubic")
    with pytest.raises(ConfigError, match="unknown row siren"):
        protocol.check_rows(("none", "siren"))


# The command


def test_the_command_writes_table_figure_and_numbers(folder, tmp_path):
    rows = ("none", "gaussian", "ridge", "bicubic")
    arguments = ["pictures", "--out", "out", "--steps", "2", "--rows", *rows]
    result = run_script("compare.py", *arguments, "--device", "cpu", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert all(line.startswith("notice: ") for line in result.stderr.splitlines())
    found = json.loads((tmp_path / "out/compare-natural.json").read_text())
    assert list(found["rows"]) == list(rows)
    assert all(one["pictures"] == 3 for one in found["rows"].values())
    text = (tmp_path / "out/compare-natural.md").read_text()
    for row, one in found["rows"].items():
        assert f"| {row} | {one['mean_db']:.2f} |" in text
    assert "19.32" in text and "| gaussian - none |" in text
    assert load_image(tmp_path / "out/compare-natural.png").image.shape[0] > 100
    for line in found["records"]:
        assert line["picture"] in ("a.png", "b.png", "c.png")
    # The trained quarter is what bicubic takes as it is.
    bicubic = [r for r in found["records"] if r["row"] == "bicubic"]
    assert all(r["train_psnr_db"] == "inf" or r["train_psnr_db"] > 100 for r in bicubic)


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("empty",), 3, "empty: no picture in it can be used"),
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
