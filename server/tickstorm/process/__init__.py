"""What the process tells the system: memory, privileges."""
