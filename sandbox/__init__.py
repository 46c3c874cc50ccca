"""Untrusted output of models: runs Python; nothing else in the project executes what a model wrote."""
