"""Side by side with peers: `operant bench NAME`."""

from operant.bench import base_policies as _base_policies  # noqa: F401 - registers two benches
from operant.bench import benches as _benches  # noqa: F401 - registers the others
from operant.bench import verifiers as _verifiers  # noqa: F401 - registers one
from operant.bench.harness import Bench, Comparison, Contestant, bench, find, names, run, table

__all__ = ["Bench", "Comparison", "Contestant", "bench", "find", "names", "run", "table"]
