"""A run's folder of a stranger: what lies outside it is neither read nor touched."""

import hashlib
import json
import os
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from jax_inr import fit_many, preset
from jax_inr.cli.main import main
from jax_inr.cli.options import read_config
from jax_inr.errors import CheckpointError, ConfigError, OutputError
from jax_inr.io.images import Image
from jax_inr.io.lock import LOCK_NAME
from jax_inr.io.reading import read_json
from jax_inr.io.runs import RUN_FILES, RunFolder
from jax_inr.io.tensorfile import save_tensors
from jax_inr.io.text import MAX_JSON_BYTES

PICTURE = Image(np.full((4, 5, 3), 0.5, np.float32), "cat.png", "0" * 64, ())
STATE = {"params/w": np.arange(4, dtype=np.float32)}
CHECKPOINT = "checkpoints/step_000000001.safetensors"
LINKS = (
    *(LOCK_NAME, *RUN_FILES, "checkpoints", "frames"),
    *(CHECKPOINT, "checkpoints/picture.safetensors", "frames/step_000000001.png"),
)


def tree(folder):
    """All that there is below a folder: names, kinds, bytes, times."""
    found = {}
    for path in sorted(folder.rglob("*")):
        about = path.lstat()
        data = path.read_bytes() if path.is_file() else None
        found[path.relative_to(folder)] = (data, about.st_mtime_ns, about.st_mode)
    return found


@pytest.fixture
def bystander(tmp_path):
    """A folder of the user's own, in which nothing may change."""
    outside = tmp_path / "outside"
    with RunFolder.create(outside) as run:
        run.write_json("config.json", preset("default").to_dict())
        run.save_original(PICTURE, {})
        run.save_checkpoint(1, STATE, {})
        run.save_frame(1, b"frame")
    (outside / "precious").write_bytes(b"12")
    (outside / "checkpoints" / ".jax_inr-1-a.tmp").write_bytes(b"mine")
    (outside / "step_000000001.png").write_bytes(b"mine")
    before = tree(outside)
    yield outside
    assert tree(outside) == before


@pytest.fixture
def hostile(tmp_path):
    """A run's folder, before a link is put into it."""
    with RunFolder.create(tmp_path / "hostile") as run:
        run.write_json("config.json", preset("default").to_dict())
        run.save_original(PICTURE, {})
        run.save_checkpoint(1, STATE, {})
        run.append_metrics({"step": 1})
        run.save_frame(1, b"frame")
    return run.path


def put_link(folder, name, bystander):
    """Replace a file or folder by a link to one of the bystander's."""
    path = folder / name
    if path.is_dir():
        path.rename(path.with_name("aside"))
    path.unlink(missing_ok=True)
    path.parent.mkdir(exist_ok=True)
    path.symlink_to(bystander if name in ("checkpoints", "frames") else PRECIOUS)


PRECIOUS = Path("..") / ".." / "outside" / "precious"


@pytest.mark.parametrize("name", LINKS)
def test_no_link_of_any_name_is_followed_on_opening(hostile, bystander, name):
    put_link(hostile, name, bystander)
    target = os.readlink(hostile / name)
    opens = (
        lambda: RunFolder.create(hostile),
        lambda: RunFolder.create(hostile, overwrite=True),
        lambda: RunFolder.reopen(hostile),
    )
    for each in opens:
        with pytest.raises(OutputError) as caught:
            each()
        assert str(caught.value).startswith(f"{hostile / name} is a link")
        assert "remove it" in caught.value.hint
    assert os.readlink(hostile / name) == target
    assert (hostile / LOCK_NAME).is_symlink() == (name == LOCK_NAME)


READERS = {
    "config.json": lambda run: run.read_json("config.json"),
    "summary.json": lambda run: run.read_summary(),
    "metrics.jsonl": lambda run: run.read_metrics(),
    "checkpoints/picture.safetensors": lambda run: run.load_original(),
    CHECKPOINT: lambda run: run.load_checkpoint(),
    "checkpoints": lambda run: (run.load_original(), run.load_checkpoint()),
}


@pytest.mark.parametrize("name", READERS)
def test_no_link_is_read_through(hostile, bystander, name):
    """Without a lock, as `export` reads the picture of a run."""
    put_link(hostile, name, bystander)
    with pytest.raises(CheckpointError, match=r" is a link") as caught:
        READERS[name](RunFolder(hostile))
    assert str(hostile / name) in str(caught.value)
    if name == "checkpoints":
        with pytest.raises(CheckpointError, match=r" is a link"):
            RunFolder(hostile).load_checkpoint()


WRITERS = {
    "config.json": lambda run: run.write_json("config.json", {}),
    "metrics.jsonl": lambda run: run.append_metrics({"step": 2}),
    "field.safetensors": lambda run: run.save_field(STATE, {}),
    "checkpoints": lambda run: run.save_checkpoint(2, STATE, {}),
    "checkpoints/picture.safetensors": lambda run: run.save_original(PICTURE, {}),
    CHECKPOINT: lambda run: run.save_checkpoint(1, STATE, {}),
    "frames": lambda run: run.save_frame(1, b"frame"),
    "frames/step_000000001.png": lambda run: run.save_frame(1, b"frame"),
}


@pytest.mark.parametrize("name", WRITERS)
def test_link_that_comes_while_the_run_goes_on_is_not_written_through(
    hostile, bystander, name
):
    with RunFolder.reopen(hostile) as run:
        put_link(hostile, name, bystander)
        try:
            WRITERS[name](run)
        except OutputError as error:
            assert " is a link" in str(error)
        else:  # a file that takes the link's place
            assert not (hostile / name).is_symlink()


def test_a_hard_link_is_not_appended_to(hostile, tmp_path):
    (tmp_path / "mine").write_bytes(b"mine")
    with RunFolder.reopen(hostile) as run:
        (hostile / "metrics.jsonl").unlink()
        (hostile / "metrics.jsonl").hardlink_to(tmp_path / "mine")
        with pytest.raises(OutputError, match=r"metrics\.jsonl: it is a hard link"):
            run.append_metrics({"step": 2})
    assert (tmp_path / "mine").read_bytes() == b"mine"


@pytest.mark.parametrize("where", ["", "checkpoints", "frames"])
def test_a_folder_of_a_temporary_name_is_left_alone(hostile, where):
    stray = hostile / where / ".jax_inr-2.tmp"
    stray.mkdir()
    with RunFolder.reopen(hostile) as run:
        run.clear()
    assert stray.is_dir()


FOLDERS = ("summary.json", "curves.png", CHECKPOINT, "frames/step_000000001.png")


@pytest.mark.parametrize("name", FOLDERS)
def test_a_folder_in_a_files_place_is_named(hostile, name):
    (hostile / name).unlink(missing_ok=True)
    (hostile / name).mkdir()
    with RunFolder.reopen(hostile) as run, pytest.raises(OutputError) as caught:
        run.clear()
    assert str(caught.value).startswith(f"cannot write {hostile / name}: ")


def test_a_checkpoint_that_is_a_folder_is_named(hostile):
    (hostile / CHECKPOINT).unlink()
    (hostile / CHECKPOINT).mkdir()
    with RunFolder.reopen(hostile) as run, pytest.raises(OutputError) as caught:
        run.save_checkpoint(2, STATE, {})
    assert str(caught.value).startswith(f"cannot write {hostile / CHECKPOINT}: ")


def test_frames_are_not_listed_through_a_link(hostile, bystander):
    with RunFolder.reopen(hostile) as run:
        put_link(hostile, "frames", bystander)
        with pytest.raises(OutputError, match="frames is a link"):
            run.list_frames()


@pytest.mark.parametrize("name", [LOCK_NAME, "config.json", "checkpoints"])
def test_commands_refuse_in_one_line(hostile, bystander, capsys, name):
    put_link(hostile, name, bystander)
    out = str(hostile)
    new = ["--size", "128", "--out", out]
    for argv in (["--resume", out], new, [*new, "--overwrite"]):
        code = main(["fit", "--steps", "1", "--quiet", *argv])
        assert code in (4, 6)
        line = capsys.readouterr().err
        assert f"{hostile / name} is a link" in line and line.count("\n") == 1


def test_render_of_a_folder_reads_no_linked_field(hostile, bystander, capsys, tmp_path):
    (hostile / "field.safetensors").symlink_to(PRECIOUS)
    assert main(["render", str(hostile), "--out", str(tmp_path / "x.png")]) == 4
    assert "field.safetensors is a link" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["cat", "cat/sigma=3"])
def test_runs_of_many_are_no_links_to_other_folders(tmp_path, bystander, name):
    out = tmp_path / "many"
    (out / name).parent.mkdir(parents=True)
    (out / name).symlink_to(bystander)
    for overwrite in (False, True):
        fits = fit_many(
            [PICTURE],
            preset("default").replace(steps=1, batch_size=None),
            names=["cat/sigma=3"],
            out=out,
            overwrite=overwrite,
        )
        error = fits.failures["cat/sigma=3"]
        assert isinstance(error, OutputError)
        assert str(error).startswith(f"{out / name} is a link")


# Sizes and numbers.


@pytest.mark.parametrize("name", ["summary.json", "config.json"])
def test_json_without_end_is_not_read(hostile, name):
    (hostile / name).write_bytes(b"{")
    os.truncate(hostile / name, 2**33)  # of zeros, which take no room
    tracemalloc.start()
    try:
        with pytest.raises(CheckpointError, match=f"{name} is damaged: .* bytes"):
            RunFolder(hostile).read_json(name)
        assert not RunFolder(hostile).finished() or name != "summary.json"
        with pytest.raises(ConfigError, match=name):
            read_config(hostile / name)
        assert tracemalloc.get_traced_memory()[1] < 10e6
    finally:
        tracemalloc.stop()
    (hostile / name).write_bytes(json.dumps("x" * (MAX_JSON_BYTES - 2)).encode())
    assert len(read_json(hostile / name)) == MAX_JSON_BYTES - 2


def test_thousands_of_junk_checkpoints_make_few_notices(hostile):
    for step in range(2, 3000):
        path = hostile / "checkpoints" / f"step_{step:09d}.safetensors"
        path.write_bytes(b"junk")
    with RunFolder.reopen(hostile) as run:
        found = run.load_checkpoint()
        assert found is not None
        _, header, notices = found
        assert header["step"] == 1
        assert len(notices) == 4 and "2995 more are bad" in notices[-1]
        assert "step_000002999" in notices[0]
        assert all("using step_000000001" in notice for notice in notices)
        (hostile / CHECKPOINT).unlink()
        with pytest.raises(CheckpointError, match="2995 more are bad") as caught:
            run.load_checkpoint()
    assert len(str(caught.value)) < 2500


def test_run_without_a_checkpoint_is_told_from_one_with_bad_ones(hostile):
    """Killed before its first: it can begin again at step 0."""
    with RunFolder.reopen(hostile) as run:
        (hostile / CHECKPOINT).write_bytes(b"")
        with pytest.raises(CheckpointError):
            run.load_checkpoint()
        (hostile / CHECKPOINT).unlink()
        assert run.load_checkpoint() is None
        image, about = run.load_original()
        assert image is not None and (image.path, about) == ("cat.png", {})
        assert run.read_json("config.json") == preset("default").to_dict()


@pytest.mark.parametrize("number", ["1" + 400 * "0", str(2**64), "-9e999", "1e309"])
def test_numbers_beyond_all_use_are_one_line(hostile, number):
    path = hostile / CHECKPOINT
    save_tensors(path, "checkpoint", STATE, {"position": {"num_rows": 7777}})
    path.write_bytes(resealed(path.read_bytes(), "7777", number))
    with RunFolder.reopen(hostile) as run, pytest.raises(CheckpointError) as caught:
        run.load_checkpoint()
    assert "a number is too large" in str(caught.value)


def resealed(data, old, new):
    """A tensor file with a text in its header replaced, and the hash that fits."""
    size = int.from_bytes(data[:8], "little")
    outer = json.loads(data[8 : 8 + size])
    ours = json.loads(outer["__metadata__"]["jax_inr"])
    text = json.dumps({**ours, "sha256": "0" * 64}).replace(old, new)
    outer["__metadata__"]["jax_inr"] = text
    header = json.dumps(outer).encode()
    made = len(header).to_bytes(8, "little") + header + data[8 + size :]
    return made.replace(b"0" * 64, hashlib.sha256(made).hexdigest().encode(), 1)


def test_names_and_notices_of_a_picture_are_shown_as_text(hostile):
    path = hostile / "checkpoints" / "picture.safetensors"
    header = {
        "about": {},
        "path": "a\x1b[31m\n" * 10**4,
        "sha256": "\x1b" * 64,
        "notices": ["\x1b[2J" * 10**3] * 10,
    }
    save_tensors(path, "picture", {"image": PICTURE.image}, header)
    picture, _ = RunFolder(hostile).load_original()
    assert picture is not None
    for text in (picture.path, picture.sha256, *picture.notices):
        assert text.isprintable() and len(text) <= 5000
    for fields in (
        {"about": {}},
        {**header, "about": 1},
        {**header, "notices": "x"},
        {**header, "path": 1},
    ):
        save_tensors(path, "picture", {"image": PICTURE.image}, fields)
        with pytest.raises(CheckpointError, match="wrong fields"):
            RunFolder(hostile).load_original()
