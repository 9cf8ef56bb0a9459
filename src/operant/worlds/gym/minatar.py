"""MinAtar's games (arXiv:1903.03176), which can give their state."""

from __future__ import annotations

from typing import Any

import numpy as np

from operant.worlds.gym.snapshot import Whole


class MinAtarGame(Whole):
    """A game with its state: its attributes are plain, but for the generator that it and its sticky actions share."""

    def state_dict(self) -> dict[str, Any]:
        game = self.unwrapped.game
        played = {name: value for name, value in vars(game.env).items() if name != "random"}
        return {"played": played, "last action": game.last_action, "draws": game.random.get_state(legacy=False)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        game = self.unwrapped.game
        game.random = game.env.random = np.random.RandomState()
        game.random.set_state(state["draws"])
        game.last_action = state["last action"]
        vars(game.env).update(state["played"])
