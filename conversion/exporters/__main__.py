"""`python -m conversion.exporters`, the same as `zoo export`."""

import sys

from .command import main

sys.exit(main())
