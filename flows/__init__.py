"""Prefect's part: flows, task runners, the temporary server. Nothing outside this package imports prefect."""
