"""WHAT is worked on: tasks, and readers of public files."""
