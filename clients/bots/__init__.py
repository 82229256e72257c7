"""Headless players over the real protocol, and a bad network to put in front of anyone.

Read `wire.py` (messages), `brain.py` (what a bot wants), `bot.py` (one connection),
`__main__.py` (a crowd of them), and `conditioner.py` (the bad network) on its own.
"""
