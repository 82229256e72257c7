"""What changed, and who may see it."""
