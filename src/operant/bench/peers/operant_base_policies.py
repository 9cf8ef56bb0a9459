"""Base policies or teachers of one text task, one a seed. Prints a line a seed: {"seed", "pass@1", "updates" (of all tries), "restarts", "seconds" (of the
processor), "failed"}; the first three are null where it failed, which the last one then says."""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import replace

import torch

from operant.core.errors import RunFailed
from operant.core.processor import keep_freed_memory
from operant.loops.base_policy import TEACHER, WarmUp, ensure_base_policy
from operant.worlds import make_world


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--task", required=True)
    parser.add_argument("--seeds", type=int, required=True)
    parser.add_argument("--teacher", action="store_true")
    given = parser.parse_args()
    keep_freed_memory()
    torch.set_num_threads(1)
    for seed in range(given.seeds):
        world, began = make_world(given.task), time.process_time()
        line = {"seed": seed, "pass@1": None, "updates": None, "restarts": None, "failed": None}
        try:
            ensure_base_policy(world, lambda message: None, replace(TEACHER if given.teacher else WarmUp(), seed=seed))
        except RunFailed as error:
            line["failed"] = str(error)
        else:
            made = json.loads((world.base / "base.json").read_text())
            last = {place: updates for place, updates, _ in made["history"]}  # of each try
            line |= {"pass@1": made["pass@1"], "updates": sum(last.values()), "restarts": made["restarts"]}
        print(json.dumps(line | {"seconds": round(time.process_time() - began, 1)}), flush=True)


if __name__ == "__main__":
    main()
