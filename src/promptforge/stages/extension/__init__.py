"""A data set that adds to a published one, [publish] extends: published.py reads it, fitness.py asks if it fits."""
