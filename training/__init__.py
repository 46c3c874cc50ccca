"""SWEET-RL and its baselines: one file per stage, each read from top to bottom; `python -m training run` runs them all."""
