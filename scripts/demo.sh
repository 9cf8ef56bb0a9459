#!/usr/bin/env bash
# The main job in a few minutes on two cores: four methods and a baseline trained, one table, one report. `make demo` runs it.
# Every line is a command that you can run by hand. Data set and base language model are kept in the cache (OPERANT_CACHE, or ~/.cache/operant).
set -euo pipefail

out="runs/demo-$(date +%Y%m%d-%H%M%S)-$$"
maze=ogbench:pointmaze-medium-navigate-singletask-task4-v0
mkdir -p "$out"
echo "runs, table and report go to $out"

# One process a core: GRPO, with the language model that it first trains from scratch, goes beside the others. Its lines are in a file of its own.
operant train grpo --task text:arithmetic --seeds 3 --steps 60 --every 60 --threads 1 --out "$out/grpo" > "$out/grpo.log" 2>&1 &
grpo=$!
follow=
trap 'kill $grpo $follow 2> /dev/null || true' EXIT

operant train ppo --task gym:CartPole-v1 --seeds 8 --steps 100000 --threads 1 --out "$out/ppo"
operant train random --task gym:CartPole-v1 --seeds 8 --out "$out/random"

operant data make ogbench:pointmaze-medium-navigate-v0 --steps 500000 --seed 0
operant train iql --task "$maze" --seeds 5 --steps 15000 --every 15000 --episodes 20 --beta 10 --threads 1 --out "$out/iql"
operant train bc --task "$maze" --seeds 5 --steps 15000 --every 15000 --episodes 20 --threads 1 --out "$out/bc"

echo "GRPO, of which $out/grpo.log tells:"
tail -n 3 -f "$out/grpo.log" &
follow=$!
wait $grpo || { echo "GRPO failed: see $out/grpo.log" >&2; exit 1; }

operant compare "$out/random" "$out/ppo" "$out/bc" "$out/iql" "$out/grpo" --out "$out/table.txt"
operant report "$out/random" "$out/ppo" "$out/bc" "$out/iql" "$out/grpo" --out "$out/report.html"
