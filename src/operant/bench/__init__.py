"""Side by side with peers: `operant bench NAME`."""

from operant.bench import benches as _benches  # noqa: F401 - registers the benches
from operant.bench.harness import Comparison, Contestant, bench, comparison, names, run, table

__all__ = ["Comparison", "Contestant", "bench", "comparison", "names", "run", "table"]
