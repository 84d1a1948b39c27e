"""Rendering in rounds: how many prompts each round tries, and when it is enough."""
