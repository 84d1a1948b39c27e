"""The way to the Hugging Face hub."""
