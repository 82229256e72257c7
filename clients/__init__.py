"""What plays the game: the browser client in `web/` and headless bots in `bots/`."""
