"""What a game may have beside its rules."""
