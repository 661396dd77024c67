"""Reports: sections measured one at a time, kept as JSON, written as Markdown.

A report is OUT.json, OUT.md and figures in `images` beside them. The JSON file keeps
what was measured with the command, machine and versions it was measured by; text and
figures are made from that file alone.
"""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from jax_inr import machine
from jax_inr.errors import CheckpointError, ConfigError
from jax_inr.io import summaries
from jax_inr.io.atomic import output_errors, write_atomic
from jax_inr.io.reading import read_json
from jax_inr.io.text import shown, to_json

MAX_REPORT_BYTES = 2**28  # of what is measured, with its images

Json = dict[str, Any]
Say = Callable[[str], None]


class Drawing(NamedTuple):
    """A figure of a section."""

    stem: str  # what its file's name ends with; nothing for the report's only one
    caption: str
    draw: Callable[[Json], Any]  # from measurements to a matplotlib figure


class Section(NamedTuple):
    """A part of a report: how it is written and drawn."""

    title: str
    write: Callable[[Json], str]  # from measurements to Markdown
    drawings: tuple[Drawing, ...] = ()


def silent(text: str) -> None:
    """Tell nobody."""


def check_sections(names: Sequence[str], known: Iterable[str]) -> tuple[str, ...]:
    """The sections asked for, all where none are.

    Raises:
        ConfigError: a name that is not known; the hint lists those that are.
    """
    known = tuple(known)
    if unknown := sorted(set(names) - set(known)):
        raise ConfigError(
            f"unknown section {', '.join(unknown)}", f"sections: {', '.join(known)}"
        )
    return tuple(names) or known


def read(path: Path, about: Json, overwrite: bool = False) -> Json:
    """What earlier runs kept: {"about", "sections"}; no sections where none did.

    Args:
        path: OUT.json.
        about: all that decides the numbers of every section, in JSON's own types.

    Raises:
        ConfigError: the numbers were measured under another `about`, or the file is
            no report's.
    """
    kept: Json = {"about": about, "sections": {}}
    if overwrite or not path.exists():
        return kept
    name, hint = shown(path), "choose another --out"
    try:
        found = read_json(path, most=MAX_REPORT_BYTES)
        same = found["about"] == about and isinstance(found["sections"], dict)
    except (CheckpointError, LookupError, TypeError) as error:
        raise ConfigError(f"{name} keeps no results of a report", hint) from error
    if not same:
        raise ConfigError(f"{name} was measured under other settings", hint)
    return found


def record(measured: Json, command: str, seconds: float, *backends: str) -> Json:
    """What is kept of a section: its measurements and how they came about.

    `backends` are those whose versions its numbers depend on.
    """
    versions: dict[str, str] = {}
    for backend in backends:
        versions |= summaries.versions(backend)
    return {
        "seconds": round(seconds, 2),
        "command": command,
        "machine": machine.describe_host(),
        "versions": versions,
        "measured": measured,
    }


def keep(path: Path, value: Any, indent: int | None = 1) -> None:
    """Write a JSON file, whole or not at all; its folder is made."""
    with output_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, (to_json(value, indent=indent) + "\n").encode())


def measure(
    measures: Mapping[str, Callable[[Any, Say], Json]],
    names: Sequence[str],
    options: Any,
    path: Path,
    command: Callable[[str], str],
    say: Say,
) -> Json:
    """Measure sections one after the other and keep each at once; all that is kept.

    A section that is not measured this time keeps what an earlier run measured.

    Args:
        measures: by name; each takes `options`, and `say` to tell how far it is.
        names: the sections to measure; all where there are none.
        path: OUT.json.
        command: what a person types to measure the section of a name.
    """
    read(path, {})  # refused before anything is measured
    for name in check_sections(names, measures):
        start = time.perf_counter()
        measured = measures[name](options, say)
        seconds = time.perf_counter() - start
        # Read anew: a section takes long, and another process may have kept one.
        kept = read(path, {})
        found = record(measured, command(name), seconds, "torch", "jax")
        kept["sections"][name] = found
        keep(path, kept)
    return read(path, {})


def write(
    heading: Sequence[str], sections: Mapping[str, Section], kept: Json, out: Path
) -> None:
    """OUT.md and its figures from what OUT.json keeps; the rest is left out."""
    parts = list(heading)
    for name, section in sections.items():
        if name in kept["sections"]:
            found = kept["sections"][name]
            parts += [f"## {section.title}", section.write(found["measured"])]
            parts += draw(section.drawings, found["measured"], out)
            parts += [f"{made_by([found])}."]
    write_text(parts, out)


def write_text(paragraphs: Sequence[str], out: Path) -> None:
    """OUT.md of paragraphs."""
    text = "\n\n".join(paragraphs) + "\n"
    write_atomic(out.with_suffix(".md"), text.encode())


def draw(drawings: Iterable[Drawing], measured: Json, out: Path) -> list[str]:
    """Draw figures into `images` beside OUT.md; the Markdown that shows them."""
    # Imported late: matplotlib takes half a second.
    from jax_inr.draw import plots
    from jax_inr.draw.settings import default_settings

    lines = []
    for drawing in drawings:
        stem = "-".join(filter(None, (out.stem, drawing.stem)))
        path = out.parent / "images" / f"{stem}.png"
        with output_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
        with default_settings():
            write_atomic(path, plots.png(drawing.draw(measured)))
        lines.append(f"![{drawing.caption}](images/{path.name})")
    return lines


def made_by(records: Iterable[Json]) -> str:
    """Commands, machines and versions of records, each said once."""
    records = list(records)
    commands = dict.fromkeys(f"`{found['command']}`" for found in records)
    machines = dict.fromkeys(found["machine"] for found in records)
    versions = dict.fromkeys(
        ", ".join(
            f"{package} {version}"
            for package, version in found["versions"].items()
            if package != "python"  # the machine's description has it
        )
        for found in records
    )
    return f"{' and '.join(commands)} on {'; '.join((*machines, *versions))}"


def table(*rows: Sequence[Any], numbers: bool = False) -> str:
    """A Markdown table whose first row is its head.

    `numbers` sets all columns but the first flush right.
    """
    rest = "---:" if numbers else "---"
    rule = ["---", *[rest] * (len(rows[0]) - 1)]
    lines = (rows[0], rule, *rows[1:])
    return "\n".join(f"| {' | '.join(map(str, cells))} |" for cells in lines)
