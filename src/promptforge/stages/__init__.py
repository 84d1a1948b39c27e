"""The eight stages and the runner: generate, filter, dedup, render, score, select, publish.

A stage is a function from a run to a tally; run.py does all skipping and committing.
"""
