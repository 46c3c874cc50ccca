"""The steps of the ReAct machine."""
