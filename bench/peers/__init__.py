"""Other servers with the same traffic, for `python -m bench compare`."""
