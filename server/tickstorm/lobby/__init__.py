"""The way in: pages and upgrades, rooms over HTTP, who is where."""
