"""`python -m clients.bots` with players who look at nothing: hundreds fit one core."""

import sys

from clients.bots.__main__ import main
from clients.bots.bot import Bot

from .chaos import Pilot

if __name__ == "__main__":
    Bot.session_type = Pilot
    sys.exit(main())
