"""The steps of the Self-Refine machine."""
