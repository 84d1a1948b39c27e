"""Reading what was rendered elsewhere: which picture belongs to which prompt, and its pixels."""
