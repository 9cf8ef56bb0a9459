#!/usr/bin/env bash
# The main job in minutes on two cores: four methods and a random baseline, one table, one report. `make demo` runs it.
# Every line with `operant` is a command that you can run by hand. Data set and base language model are kept in the cache (OPERANT_CACHE, or ~/.cache/operant).
set -euo pipefail

out="runs/demo-$(date +%Y%m%d-%H%M%S)-$$"
task=ogbench:pointmaze-medium-mixed-singletask-task2-v0
mkdir -p "$out"
echo "runs, table and report go to $out"

operant data make ogbench:pointmaze-medium-mixed-v0 --steps 300000 --seed 0

# One process a core: IQL, the longest, goes beside the others. Its lines are in a file of its own.
operant train iql --task "$task" --seeds 5 --steps 11000 --every 11000 --episodes 20 --learning-rate 1e-3 --expectile 0.8 --tau 0.05 --threads 1 --out "$out/iql" > "$out/iql.log" 2>&1 &
iql=$!
trap 'kill $(jobs -p) 2> /dev/null || true' EXIT

# 99,328 steps are 97 rollouts of 8 environments × 128 steps.
operant train random --task gym:CartPole-v1 --seeds 8 --steps 99328 --out "$out/random"
operant train ppo --task gym:CartPole-v1 --seeds 8 --steps 99328 --threads 1 --out "$out/ppo"

operant train bc --task "$task" --seeds 5 --steps 11000 --every 11000 --episodes 20 --learning-rate 1e-3 --threads 1 --out "$out/bc"

# The language model that GRPO starts from is first trained from scratch on worked examples, a quarter of them wrong, until it solves 15 to 50 % of new
# problems.
operant train grpo --task text:arithmetic --seeds 3 --steps 60 --every 60 --threads 1 --out "$out/grpo"

echo "IQL, of which $out/iql.log tells:"
tail -n 3 -f "$out/iql.log" &
if ! wait $iql; then
  echo "IQL failed: $(tail -n 1 "$out/iql.log")" >&2
  exit 1
fi

operant compare "$out/random" "$out/ppo" "$out/bc" "$out/iql" "$out/grpo" --out "$out/table.txt"
operant report "$out/random" "$out/ppo" "$out/bc" "$out/iql" "$out/grpo" --out "$out/report.html"
