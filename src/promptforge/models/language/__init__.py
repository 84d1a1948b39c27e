"""Language models behind one protocol: a server of one's own or another's, and vLLM in this process."""
