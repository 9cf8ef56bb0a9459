#!/usr/bin/env bash
# The main job in minutes on two cores: four methods and a random baseline, one table, one report. `make demo` runs it.
# Every line with `operant` is a command that you can run by hand. Data set and base language model are kept in the cache (OPERANT_CACHE, or ~/.cache/operant).
set -euo pipefail

out="runs/demo-$(date +%Y%m%d-%H%M%S)-$$"
task=ogbench:pointmaze-medium-mixed-singletask-task2-v0
offline=(--task "$task" --seeds 5 --steps 10000 --every 10000 --episodes 20 --hidden 64,64 --learning-rate 1e-3 --threads 1)
mkdir -p "$out"
echo "Runs, table and report go to $out. All of it takes some minutes on two cores; each part says what you are looking at."

echo
echo "1. Data (a minute): 300,000 recorded steps in a maze, half of them wandering, half demonstrations of the way from start to goal."
operant data make ogbench:pointmaze-medium-mixed-v0 --steps 300000 --seed 0

# One process a core: IQL, the longest, goes beside the others. Its lines are in a file of its own.
operant train iql "${offline[@]}" --expectile 0.8 --tau 0.05 --out "$out/iql" > "$out/iql.log" 2>&1 &
iql=$!
trap 'kill $(jobs -p) 2> /dev/null || true' EXIT

echo
echo "2. CartPole (a minute or two): PPO learns to hold a pole, 8 seeds at once. The score is the steps that it stays up, 500 at most; random actions hold it for about 20."
# The settings of RL Baselines3 Zoo; 99,840 steps are 390 rollouts of 8 environments × 32 steps.
operant train random --task gym:CartPole-v1 --seeds 8 --steps 99840 --out "$out/random"
operant train ppo --task gym:CartPole-v1 --seeds 8 --steps 99840 --rollout-length 32 --minibatches 1 --epochs 20 --gamma 0.98 --lam 0.8 \
  --learning-rate 1e-3 --anneal --threads 1 --out "$out/ppo"

echo
echo "3. The maze from data alone (two minutes): the score is the share of episodes that reach the goal. Behaviour cloning imitates all that it saw, wandering"
echo "   too; IQL, in the background with the same network, data and updates, learns which of it leads to the goal."
operant train bc "${offline[@]}" --out "$out/bc"

echo
echo "4. A language model of 0.45M parameters (three minutes): it first learns from worked sums, a quarter of them wrong, until it solves 25 to 50 % of new ones;"
echo "   GRPO then rewards right answers alone. pass@1 is the share of new sums that it solves at the first try, and should rise."
operant train grpo --task text:arithmetic --seeds 3 --steps 60 --every 60 --threads 1 --out "$out/grpo"

echo
echo "IQL, of which $out/iql.log tells:"
tail -n 3 -f "$out/iql.log" &
if ! wait $iql; then
  echo "IQL failed: $(tail -n 1 "$out/iql.log")" >&2
  exit 1
fi

echo
echo "5. One table with intervals over the seeds, and one report to open in a browser."
operant compare "$out/random" "$out/ppo" "$out/bc" "$out/iql" "$out/grpo" --out "$out/table.txt"
operant report "$out/random" "$out/ppo" "$out/bc" "$out/iql" "$out/grpo" --out "$out/report.html"
