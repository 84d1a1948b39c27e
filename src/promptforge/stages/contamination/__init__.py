"""Which prompts say what a benchmark's prompts say: pure functions from Arrow columns to hits.

words, grams: texts as hashed words and n-grams. prompts: the benchmarks' files. equal, contained, near, overlap,
passages, tuples, skeleton: a rule or two each. find: all of them over one batch of texts.
"""
