"""Fit an image with a coordinate network; `--help` lists the options."""

import sys

from jax_inr.cli.main import main

if __name__ == "__main__":
    sys.exit(main(["fit", *sys.argv[1:]]))
