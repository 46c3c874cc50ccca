"""WHAT runs: one state machine per file, topology only, readable on one screen."""
