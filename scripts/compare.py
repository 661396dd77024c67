"""The Fourier-features table on a folder of images; `--help` lists the options."""

import sys

from jax_inr.cli.main import main

if __name__ == "__main__":
    sys.exit(main(["compare", *sys.argv[1:]]))
