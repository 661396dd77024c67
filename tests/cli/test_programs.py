"""Compiled programs kept on disk: where, for whom, and how many."""

import os
import stat

import pytest
from conftest import run_script

from jax_inr import kept
from jax_inr.cli import programs


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A home of one's own, in which programs may be kept."""
    monkeypatch.delenv("JAX_ENABLE_COMPILATION_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    # Noted, so that what is set is taken back.
    names = programs.FOLDER, programs.KEPT, programs.LOG_LEVEL, *programs.SETTINGS
    for name in names:
        monkeypatch.setenv(name, "before")
        del os.environ[name]
    return tmp_path


def test_the_folder_is_private_and_named_by_versions_and_processor(home):
    programs.keep_programs()
    (folder,) = (home / "jax-inr").iterdir()
    assert os.environ[programs.FOLDER] == os.environ[programs.KEPT] == str(folder)
    assert programs.KEPT == kept.FOLDER
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {*programs.SETTINGS} <= {*os.environ}
    assert os.environ[programs.LOG_LEVEL] == "3"


@pytest.mark.parametrize(("before", "after"), [("1", "3"), ("0", "0"), ("2", "2")])
def test_the_loaders_notices_are_silenced_but_for_those_who_ask(
    home, monkeypatch, before, after
):
    monkeypatch.setenv(programs.LOG_LEVEL, before)
    programs.keep_programs()
    assert os.environ[programs.LOG_LEVEL] == after


def test_another_processor_or_version_has_another_folder(tmp_path, monkeypatch):
    cpuinfo = tmp_path / "cpuinfo"
    names = []
    for text in ("flags : avx2\nflags : avx2\n", "flags : avx2\n", "flags : sse\n"):
        cpuinfo.write_text(text)
        names.append(programs.built_for(cpuinfo))
    assert names[0] == names[1] != names[2]
    monkeypatch.setattr(programs.importlib.metadata, "version", lambda name: "99")
    assert programs.built_for(cpuinfo) != names[2]
    assert programs.built_for(tmp_path / "absent")


@pytest.mark.parametrize(
    "asked",
    [
        {"JAX_ENABLE_COMPILATION_CACHE": "false"},
        {"JAX_COMPILATION_CACHE_DIR": "elsewhere"},
    ],
)
def test_what_a_user_decided_stays(home, monkeypatch, asked):
    for name, value in asked.items():
        monkeypatch.setenv(name, value)
    programs.keep_programs()
    assert not list(home.iterdir())
    assert {name: os.environ[name] for name in asked} == asked


def _made_for_all(folder, monkeypatch):
    folder.chmod(0o777)


def _of_another_user(folder, monkeypatch):
    monkeypatch.setattr(os, "getuid", lambda: folder.stat().st_uid + 1)


def _a_link(folder, monkeypatch):
    folder.rename(folder.with_name("elsewhere"))
    folder.symlink_to("elsewhere")


@pytest.mark.parametrize("change", [_made_for_all, _of_another_user, _a_link])
def test_a_folder_that_others_can_write_to_is_not_used(home, monkeypatch, change):
    programs.keep_programs()
    (folder,) = (home / "jax-inr").iterdir()
    del os.environ[programs.FOLDER], os.environ[programs.KEPT]
    change(folder, monkeypatch)
    programs.keep_programs()
    assert not {programs.FOLDER, programs.KEPT} & {*os.environ}


def test_a_folder_that_cannot_be_made_is_done_without(home, monkeypatch):
    (home / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(home / "file"))
    programs.keep_programs()
    assert programs.FOLDER not in os.environ


def test_what_was_used_longest_ago_goes_first(tmp_path):
    for age, name in enumerate(("new", "older", "oldest")):
        (tmp_path / name).write_bytes(b"x" * 10)
        os.utime(tmp_path / name, (0, 100 - age))
    programs.forget_oldest(tmp_path, 20)
    assert {path.name for path in tmp_path.iterdir()} == {"new", "older"}
    programs.forget_oldest(tmp_path, 9)
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_a_second_command_compiles_nothing_and_gives_the_same(tmp_path):
    env = {
        "JAX_ENABLE_COMPILATION_CACHE": "true",
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
    }
    words = ("--size", 12, "--steps", 3, "--preset", "fast", "--quiet")
    fields, names = [], []
    for name in "ab":
        done = run_script("fit.py", *words, "--out", name, cwd=tmp_path, env=env)
        assert done.returncode == 0 and "aot" not in done.stderr
        fields.append((tmp_path / name / "field.safetensors").read_bytes())
        (folder,) = (tmp_path / "cache" / "jax-inr").iterdir()
        names.append({path.name for path in folder.iterdir()})
    assert fields[0] == fields[1]
    assert {name for name in names[1] if "atime" not in name} == names[0]
    assert [name for name in names[0] if name.startswith("jax_inr-")]
