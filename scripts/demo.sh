#!/usr/bin/env bash
# The main job in minutes on two cores: four methods and a random baseline, one table, one report. `make demo` runs it.
# Every line with `operant` is a command that you can run by hand. Data set and base language model are kept in the cache (OPERANT_CACHE, or ~/.cache/operant).
set -euo pipefail

out="runs/demo-$(date +%Y%m%d-%H%M%S)-$$"
task=ogbench:pointmaze-medium-mixed-singletask-task2-v0
mkdir -p "$out"
echo "runs, table and report go to $out"

echo "1. Data: 300,000 recorded steps in a maze, half of them wandering, half demonstrations."
operant data make ogbench:pointmaze-medium-mixed-v0 --steps 300000 --seed 0

# One process a core: IQL, the longest, goes beside the others. Its lines are in a file of its own.
operant train iql --task "$task" --seeds 5 --steps 11000 --every 11000 --episodes 20 --learning-rate 1e-3 --expectile 0.8 --tau 0.05 --threads 1 --out "$out/iql" > "$out/iql.log" 2>&1 &
iql=$!
trap 'kill $(jobs -p) 2> /dev/null || true' EXIT

echo "2. CartPole: PPO learns to hold a pole, 8 seeds at once; random actions beside it hold it for about 20 steps, and 500 is the most."
# 99,328 steps are 97 rollouts of 8 environments × 128 steps.
operant train random --task gym:CartPole-v1 --seeds 8 --steps 99328 --out "$out/random"
operant train ppo --task gym:CartPole-v1 --seeds 8 --steps 99328 --threads 1 --out "$out/ppo"

echo "3. The maze from data alone: behaviour cloning imitates what it saw, wandering too; IQL, in the background, looks for better. The score is success, 0 to 1."
operant train bc --task "$task" --seeds 5 --steps 11000 --every 11000 --episodes 20 --learning-rate 1e-3 --threads 1 --out "$out/bc"

echo "4. A language model of 0.45M parameters: first made able to solve some sums, from worked examples, then GRPO rewards right answers; pass@1 should rise."
# The language model that GRPO starts from is first trained from scratch on worked examples, a quarter of them wrong, until it solves 25 to 50 % of new
# problems.
operant train grpo --task text:arithmetic --seeds 3 --steps 60 --every 60 --threads 1 --out "$out/grpo"

echo "IQL, of which $out/iql.log tells:"
tail -n 3 -f "$out/iql.log" &
if ! wait $iql; then
  echo "IQL failed: $(tail -n 1 "$out/iql.log")" >&2
  exit 1
fi

echo "5. One table with intervals over seeds, and one report to open in a browser."
operant compare "$out/random" "$out/ppo" "$out/bc" "$out/iql" "$out/grpo" --out "$out/table.txt"
operant report "$out/random" "$out/ppo" "$out/bc" "$out/iql" "$out/grpo" --out "$out/report.html"
