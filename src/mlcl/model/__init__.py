"""The encoder: configuration, `MLCModel`, packing and attention, pooling, heads, and `Encoder` for using it."""
