"""Scores beside a peer: both sides meet the same starts."""

import gymnasium
import numpy as np
import pytest

import operant
from operant.evidence.online import peer


def test_policies_are_evaluated_where_the_peers_are(tmp_path, monkeypatch: pytest.MonkeyPatch):
    """One environment, seeded once, and ten episodes one after the other, for each seed alike."""
    monkeypatch.setattr(peer, "EPISODES", 2)
    run = operant.train("sac-v2", "gym:Pendulum-v1", seeds=2, steps=20, learning_starts=20, hidden=(4,), episodes=1, progress=False, out=tmp_path / "run")
    seen: list[np.ndarray] = []
    player = type(run).player

    def told(self, seed=None):
        act = player(self, seed)

        class Told:
            reset = staticmethod(act.reset)

            def __call__(self, observation):
                seen.append(observation)
                return act(observation)

        return Told()

    monkeypatch.setattr(type(run), "player", told)
    found = peer.on_the_same_starts(run, "Pendulum-v1")
    env = gymnasium.make("Pendulum-v1")
    starts = [env.reset(seed=peer.STARTS)[0], env.reset()[0]]
    assert len(seen) == 2 * 2 * 200
    for at, start in enumerate(starts * 2):
        np.testing.assert_array_equal(seen[at * 200], start)
    total = 0.0
    for episode in range(2):
        observation, _ = env.reset(seed=None if episode else peer.STARTS)
        for _ in range(200):
            observation, reward, *_ = env.step(run.policy(observation, seed=1))
            total += float(reward)
    assert found["per_seed"][1] == pytest.approx(total / 2)
