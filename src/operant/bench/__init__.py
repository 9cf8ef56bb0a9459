"""Side by side with peers: `operant bench NAME`."""

from operant.bench.harness import Bench, Comparison, Contestant, bench, find, names, run, table

__all__ = ["Bench", "Comparison", "Contestant", "bench", "find", "names", "run", "table"]
