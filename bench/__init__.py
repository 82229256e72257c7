"""Load benchmarks: how many players one core carries, and how that compares."""
