"""The tiled twins of the losses: the same numbers without the big matrix. The maths stands beside this folder."""
