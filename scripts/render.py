"""Render a fitted field at any size; `--help` lists the options."""

import sys

from jax_inr.cli.main import main

if __name__ == "__main__":
    sys.exit(main(["render", *sys.argv[1:]]))
