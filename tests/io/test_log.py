"""io.log: rows come back, a torn end is forgiven, and nothing else is."""

import json
import math
import os
import subprocess
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jax_inr.errors import CheckpointError, OutputError
from jax_inr.io.log import COLUMNS, MetricsLog

ROOT = Path(__file__).parents[2]
REST = {"seconds": 0.25, "pooled_psnr_db": 3.0}
ROWS = [
    {"step": 10, "loss": 0.5, "psnr_db": 3.0103, **REST},
    {"step": 20, "loss": 0.0, "psnr_db": math.inf, **REST},
    {"step": 30, "loss": math.nan, "psnr_db": -math.inf, **REST},
]


def line(step, **changes):
    """A sound line but for the changes."""
    row = {**dict.fromkeys(COLUMNS, 0.5), "step": step, **changes}
    return json.dumps(row).encode() + b"\n"


@pytest.fixture
def log(tmp_path):
    return MetricsLog(tmp_path / "metrics.jsonl")


def test_rows_come_back_with_inf_and_nan(log):
    assert log.rows() == []
    for row in ROWS:
        log.append({**row, "step": np.int64(row["step"])})
    assert repr(log.rows()) == repr(ROWS)
    for text in log.path.read_text().splitlines():
        json.loads(text, parse_constant=lambda constant: pytest.fail(constant))


def test_log_torn_anywhere_in_its_last_line_loses_that_line_only(log):
    for row in ROWS:
        log.append(row)
    path = log.path
    data = path.read_bytes()
    start = data.index(b"\n", data.index(b"\n") + 1) + 1
    for end in range(start, len(data) - 1):
        path.write_bytes(data[:end])
        assert log.rows() == ROWS[:2]
        log.truncate(100)
        assert path.read_bytes() == data[:start]
    path.write_bytes(data[:-1])
    assert len(log.rows()) == 3
    log.truncate(100)
    assert path.read_bytes() == data
    # What a file system leaves of a line that the power cut short.
    path.write_bytes(data[:start] + bytes(20))
    assert log.rows() == ROWS[:2]


def test_log_is_cut_to_a_step_byte_for_byte(log):
    data = b'{"step":10, "loss": 1e-05}\n{ "step": 20,"psnr_db": "inf"}\n'
    log.path.write_bytes(data + b'{"step": 30}\n{"st')
    log.truncate(29)
    assert log.path.read_bytes() == data
    log.append({"step": 30})
    assert log.path.read_bytes() == data + b'{"step": 30}\n'
    # A row of the very step stays.
    log.truncate(20)
    assert log.path.read_bytes() == data
    log.truncate(9)
    assert log.path.read_bytes() == b""


@pytest.mark.parametrize(
    "bad",
    [
        *(b"{", b"[1]", b"3", b"null", b"{}", b""),
        *(b'{"step": "1"}', b'{"step": true}', b'{"step": 1e999}'),
    ],
)
def test_log_damaged_before_its_end_is_named_with_the_line(log, bad):
    log.path.write_bytes(line(1) + bad + b"\n" + line(2))
    for read in (log.rows, lambda: log.truncate(9)):
        with pytest.raises(
            CheckpointError, match=r"metrics\.jsonl is damaged at line 2"
        ):
            read()
    assert log.path.read_bytes() == line(1) + bad + b"\n" + line(2)


@pytest.mark.parametrize("name", COLUMNS)
@pytest.mark.parametrize("value", [None, "x", [], {}, True, "missing"])
def test_row_without_a_number_in_a_column_is_named(log, name, value):
    """Valid JSON, and no row: figures would end in a KeyError or draw words."""
    row = json.loads(line(2))
    row.pop(name) if value == "missing" else row.update({name: value})
    log.path.write_bytes(line(1) + json.dumps(row).encode() + b"\n" + line(3))
    with pytest.raises(CheckpointError, match=r"metrics\.jsonl is damaged at line 2"):
        log.rows()


def test_row_that_is_whole_but_odd_is_not_forgiven_at_the_end(log):
    log.path.write_bytes(line(1) + b'{"step": 2}')
    with pytest.raises(CheckpointError, match="line 2"):
        log.rows()


@settings(deadline=None)
@given(st.binary() | st.text(alphabet='{}[]",:\n step0').map(str.encode))
def test_any_log_is_read_or_refused(tmp_path_factory, data):
    log = MetricsLog(tmp_path_factory.getbasetemp() / "metrics.jsonl")
    log.path.write_bytes(data)
    try:
        rows = log.rows()
    except CheckpointError:
        return
    assert all(type(row["step"]) is int for row in rows)


@pytest.mark.parametrize("start", [b"", line(1)])
def test_endless_line_is_not_read(log, start):
    log.path.write_bytes(start)
    os.truncate(log.path, 2**33)  # of zeros, which take no room
    tracemalloc.start()
    try:
        for read in (log.rows, lambda: log.truncate(9)):
            with pytest.raises(CheckpointError, match="damaged at line"):
                read()
        assert tracemalloc.get_traced_memory()[1] < 1e6
    finally:
        tracemalloc.stop()


@pytest.mark.timeout(20)
def test_pipe_in_place_of_the_log_is_refused_without_waiting(log):
    os.mkfifo(log.path)
    with pytest.raises(OutputError):
        log.append(ROWS[0])
    with pytest.raises(CheckpointError):
        log.rows()


LIMITED = """
import pathlib, resource, sys
from jax_inr.errors import OutputError
from jax_inr.io.log import MetricsLog
log = MetricsLog(pathlib.Path(sys.argv[1]))
log.append({"step": 1})
resource.setrlimit(resource.RLIMIT_FSIZE, (100, resource.RLIM_INFINITY))
try:
    log.append({"step": 2, "long": "x" * 200})
except OutputError as error:
    print(error)
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)
log.append({"step": 3})
"""


def test_log_that_meets_a_full_disk_stays_whole(log):
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, log.path],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "metrics.jsonl: File too large" in done.stdout
    assert log.path.read_bytes() == b'{"step": 1}\n{"step": 3}\n'
