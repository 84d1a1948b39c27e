"""The miniature world: a FLUX pipeline of three million parameters that was trained here, on canvas pictures.

A test of the mechanism, no reproduction of the paper: with it the whole circle of prompts, pictures, scores, shards,
distillation and evaluation runs on a laptop. Its weights come with the package (`weights/`); `make mini-teacher` trains
them anew. Nothing that is measured here says how FLUX behaves.
"""
