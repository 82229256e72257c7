"""What games are made of, and which of them this server runs."""
