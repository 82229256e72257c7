"""Headless players over the real protocol, and a bad network to put in front of anyone.

Read `wire.py` (messages), `brain.py` (what a bot wants), `session.py` (one stay on one
connection), `connection.py` (the socket), `bot.py` (coming back), `__main__.py` (a
crowd), and `conditioner.py` (the bad network) on its own.
"""
