"""Rooms that run: ticks, seats, sessions, inputs, shedding."""
