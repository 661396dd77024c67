"""Hold the two back ends against each other; `--help` lists the sections."""

import sys
from pathlib import Path

from jax_inr.experiments.parity.report import main

# The faults stand beside the tests that are to notice them.
sys.path.append(str(Path(__file__).parents[1] / "tests"))

if __name__ == "__main__":
    sys.exit(main())
