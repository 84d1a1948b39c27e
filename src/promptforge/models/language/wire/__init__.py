"""What the ways to a language model share: requests as chat messages, sampling, answers read from a stream."""
