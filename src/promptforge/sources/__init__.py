"""Where prompts come from: each module is a kind of source."""
