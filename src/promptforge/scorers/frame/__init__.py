"""Measures of a frame as a whole, for the scorers that need them."""
