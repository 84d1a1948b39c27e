"""How a reading is compared with the strings that a prompt asked for: distances, matching of lines, judgement."""
