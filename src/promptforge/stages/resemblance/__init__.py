"""Which prompts resemble each other: MinHash and LSH find candidates, an exact comparison decides.

Pure functions over Arrow and NumPy arrays; nothing here reads a store.

    words.py       texts -> hashed words, phrases, quotes         vocabulary.py  what each word is to the comparison
    features.py    words -> shingles and what must agree           minhash.py     shingles -> candidate pairs
    jaccard.py     candidate pairs -> verified pairs               stars.py       pairs -> survivors and their dropped
    compiled.py    the same arithmetic through numba, where it is installed
    compare.py     all of it in order
"""
