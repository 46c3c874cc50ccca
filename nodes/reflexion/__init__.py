"""The steps of the Reflexion machine."""
