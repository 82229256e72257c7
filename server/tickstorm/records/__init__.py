"""What is kept: journals, replays, and for how long."""
