"""Sockets: one connection, all of a room, and the door."""
