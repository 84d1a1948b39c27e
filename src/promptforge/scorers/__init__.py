"""Measures of a picture, one module each; scores are facts, keep or drop is decided elsewhere."""
