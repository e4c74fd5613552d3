"""`python -m mlcl` is the command `mlcl`."""

import sys

from mlcl.cli import main

sys.exit(main())
