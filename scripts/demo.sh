#!/usr/bin/env bash
# The main job in minutes on two cores: three methods beside random actions, one table, one report. `make demo` runs it.
# Every line with `operant` is a command that you can run by hand. The base language model is kept in the cache (OPERANT_CACHE, or ~/.cache/operant).
set -euo pipefail

out="runs/demo-$(date +%Y%m%d-%H%M%S)-$$"
mkdir -p "$out"
echo "Runs, table and report go to $out. All of it takes a few minutes on two cores; each part says what you are looking at."

# One process a core: SAC goes beside the others. Its lines are in a file of its own.
operant train sac-v2 --task gym:Pendulum-v1 --seeds 5 --steps 8000 --every 2000 --hidden 64,64 --threads 1 --out "$out/sac" > "$out/sac.log" 2>&1 &
sac=$!
trap 'kill $(jobs -p) 2> /dev/null || true' EXIT

echo
echo "1. CartPole: PPO learns to hold a pole, 8 seeds at once. The score is the steps that it stays up, 500 at most; random actions hold it for about 20."
# The settings of RL Baselines3 Zoo; 99,840 steps are 390 rollouts of 8 environments × 32 steps.
operant train random --task gym:CartPole-v1 --seeds 8 --steps 99840 --out "$out/random-cartpole"
operant train ppo --task gym:CartPole-v1 --seeds 8 --steps 99840 --rollout-length 32 --minibatches 1 --epochs 20 --gamma 0.98 --lam 0.8 \
  --learning-rate 1e-3 --anneal --threads 1 --out "$out/ppo"

echo
echo "2. A language model of 0.45M parameters: it first learns from worked sums, a quarter of them wrong, until it solves 25 to 50 % of new ones; GRPO then"
echo "   rewards right answers alone. pass@1 is the share of new sums that it solves at the first try, and should rise far above where it began."
operant train grpo --task text:arithmetic --seeds 3 --steps 60 --every 60 --threads 1 --out "$out/grpo"

echo
echo "3. Pendulum: SAC swings a pendulum up and holds it, 5 seeds at once, in the background since the beginning. The score is the negative cost of an episode:"
echo "   about -150 is as good as it gets, random actions get about -1200. From $out/sac.log:"
operant train random --task gym:Pendulum-v1 --seeds 5 --steps 8000 --out "$out/random-pendulum"
tail -n 3 -f "$out/sac.log" &
if ! wait $sac; then
  echo "SAC failed: $(tail -n 1 "$out/sac.log")" >&2
  exit 1
fi

echo
echo "4. One table with intervals over the seeds, and one report to open in a browser."
operant compare "$out/random-cartpole" "$out/ppo" "$out/random-pendulum" "$out/sac" "$out/grpo" --out "$out/table.txt"
operant report "$out/random-cartpole" "$out/ppo" "$out/random-pendulum" "$out/sac" "$out/grpo" --out "$out/report.html"
