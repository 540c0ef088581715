"""The command line as ``python -m latentem``."""

import sys

from latentem.cli import main

sys.exit(main())
