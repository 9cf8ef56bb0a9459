"""Side by side with peers: `operant bench NAME`."""

from operant.bench.harness import SETS, Bench, Comparison, Contestant, bench, find, names, run, table

__all__ = ["SETS", "Bench", "Comparison", "Contestant", "bench", "find", "names", "run", "table"]
