"""Benchmarks, of quality and of speed: `python -m evaluation NAME`."""
