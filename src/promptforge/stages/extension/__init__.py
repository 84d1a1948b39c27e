"""A data set that adds to a published one ([publish] extends): published.py reads that one, clashes.py keeps apart."""
