"""python -m conversion.importers FILE --out FOLDER"""

import sys

from . import main

sys.exit(main())
