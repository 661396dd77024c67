"""Measure spectral bias and write the report on it; `--help` lists the options."""

import sys

from jax_inr.cli.main import main

if __name__ == "__main__":
    sys.exit(main(["spectral-bias", *sys.argv[1:]]))
