"""Measure the speed of fits side by side; `--help` lists the sections."""

import sys

from jax_inr.cli.main import main

if __name__ == "__main__":
    sys.exit(main(["bench", *sys.argv[1:]]))
