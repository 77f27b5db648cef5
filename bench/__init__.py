"""Benchmarks beside the peers: `python -m bench` (README.md here says what is measured and what came out)."""
