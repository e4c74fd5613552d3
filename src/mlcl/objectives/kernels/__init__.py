"""The tiled twins of the losses: the same numbers without the big matrix. What they compute stands beside this folder."""
