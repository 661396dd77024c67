"""Classify scikit-learn's digits from the weights of their fields; see `--help`."""

import sys

from jax_inr.cli.main import main

if __name__ == "__main__":
    sys.exit(main(["digits", *sys.argv[1:]]))
