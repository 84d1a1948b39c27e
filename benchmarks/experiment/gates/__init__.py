"""The experiment's parts: what each check on prompts does for a student in the miniature world (../PROTOCOL.md)."""
