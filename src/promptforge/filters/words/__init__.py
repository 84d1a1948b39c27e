"""Words of prompts: cutting many texts at once, lists of words, what a word says about its text."""
