"""What sources/llm.py asks for: cells and parents as lanes of blocks, and what a rewrite must keep."""
