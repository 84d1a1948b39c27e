"""What boxes around things say: which are the same thing, and how two things stand to each other."""
