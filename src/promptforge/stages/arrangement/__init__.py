"""The parts of the stage arrange: what a prompt is about, the order inside a block, and caps."""
