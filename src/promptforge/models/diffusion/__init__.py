"""Text-to-image pipelines of diffusers: loading, drawing, what the transformer answers to a prompt."""
