"""How the grammar writes: choices of a row, noun phrases, and one module an axis; templates in *.toml."""
