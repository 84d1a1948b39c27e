"""What the scorers share that are a small head over a CLIP embedding."""
