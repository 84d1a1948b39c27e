"""Reports over a run, made by SQL over its catalog."""
