"""One reader a file format: rows by number, bad rows as faults; what columns mean; how a data set is laid out."""
