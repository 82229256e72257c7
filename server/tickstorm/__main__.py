"""``python -m tickstorm`` is the command ``tickstorm``."""

import sys

from .cli import main

sys.exit(main())
