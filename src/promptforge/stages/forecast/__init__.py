"""What a run will come to before it begins: rows, time, money, disk; and afterwards, how far off that was."""
