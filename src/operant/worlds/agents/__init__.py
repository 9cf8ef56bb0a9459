"""Tasks of several agents that act at the same time: games of our own, and environments with PettingZoo's parallel API."""
