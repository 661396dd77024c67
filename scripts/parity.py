"""Hold the two back ends against each other; `--help` lists the sections."""

import sys

from torch_ref.parity_report import main

if __name__ == "__main__":
    sys.exit(main())
