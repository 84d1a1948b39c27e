"""Which prompts mean the same, by vectors of sentences: pairs whose cosine is high and whose telling words agree.

vectors.py   prompts -> vectors, by a model (committed, so that none is made twice) or out of a file
telling.py   what must be the same in two prompts whatever their vectors say: things, colours, numbers, places
search.py    vectors -> survivors, exactly, by products of blocks
"""
