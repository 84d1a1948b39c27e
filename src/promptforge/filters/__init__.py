"""Prompt-side checks, one small module each; sub-packages hold what they share."""
