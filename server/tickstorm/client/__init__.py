"""A client of a server, in Python."""
