"""Parts of readers.py."""
