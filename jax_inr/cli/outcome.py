"""What a command that fits says at its end, without a display."""

from pathlib import Path
from typing import Any

from jax_inr.cli import process
from jax_inr.cli.options import RunOptions
from jax_inr.io.text import to_json


def report_silently(options: RunOptions, out: Path, summary: dict[str, Any]) -> None:
    """Print the summary for --json, and a folder that the command has chosen."""
    chosen = options.out is None and options.resume is None
    if options.json:
        process.Output().write(to_json(summary, indent=1) + "\n")
        if chosen:
            process.say(f"written to {out}")
    elif chosen:
        process.Output().write(f"{out}\n")
