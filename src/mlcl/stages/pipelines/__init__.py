"""Stages made of other stages (`mlcl quickstart`). The contract is that of `mlcl.stages`."""
