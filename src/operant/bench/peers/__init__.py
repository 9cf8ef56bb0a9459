"""The peers' sides of the benches: `python -m operant.bench.peers.NAME …` trains with one library and prints one JSON line."""
