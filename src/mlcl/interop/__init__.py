"""Doors to other people's programs: our encoders as they expect theirs. One file per program; each needs its extra."""
