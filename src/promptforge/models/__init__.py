"""Adapters: one file for each heavy library, behind the protocols; the library is imported nowhere else."""
