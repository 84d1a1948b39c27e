"""How often the teacher does what a prompt says, over a fixed number of takes; and what another take brings."""
