"""Fit thousands of images into a set of fields; `--help` lists the options."""

import sys

from jax_inr.cli.main import main

if __name__ == "__main__":
    sys.exit(main(["dataset", *sys.argv[1:]]))
