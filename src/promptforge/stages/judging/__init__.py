"""Pictures against the gates of a policy."""
