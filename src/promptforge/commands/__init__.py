"""What each command does; cli.py says how it is called."""
