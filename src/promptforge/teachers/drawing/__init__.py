"""How the canvas teacher draws: icons, textures, ground, placing, carriers, letters, and the mistakes it makes."""
