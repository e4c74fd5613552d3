"""One file per loss: tensors in, a scalar out. No loss knows of ranks, trainers or files."""

from mlcl.objectives.info_nce import info_nce
from mlcl.objectives.masked_lm import masked_lm_loss
from mlcl.objectives.queue import NegativeQueue

__all__ = ["NegativeQueue", "info_nce", "masked_lm_loss"]
