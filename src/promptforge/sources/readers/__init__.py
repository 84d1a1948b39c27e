"""One reader a file format: rows by number, bad rows as faults. Used by sources/files.py alone."""
