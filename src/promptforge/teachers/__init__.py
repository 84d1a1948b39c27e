"""Teachers: each module draws pictures from prompts (protocols.Teacher)."""
