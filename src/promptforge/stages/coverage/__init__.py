"""How much of the world a prompt set covers: measures, and what a recipe demands of them at least."""
