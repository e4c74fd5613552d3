"""The whole language model of a trained folder: the decoder that still generates, the masked LM that still fills in.

In: a folder of an `MLCModel`. Out: the model of transformers for its LM term, with the trained weights:
`AutoModelForCausalLM`, `AutoModelForSeq2SeqLM` or `AutoModelForMaskedLM`. `save_pretrained` writes it as a folder of
its own, which knows nothing of mlcl.

    model = language_model("run/model")
    model.generate(**tokenizer("The cat", return_tensors="pt"), max_new_tokens=20)
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from mlcl.core.errors import UserError
from mlcl.model.backends import _load_ours
from mlcl.model.model import MLCModel


@torch.no_grad()
def language_model(model: MLCModel | str | Path) -> Any:
    """The language model inside an `MLCModel`, or inside the folder of one, as a `PreTrainedModel` of transformers.

    The weights are copies. A bidirectional decoder becomes causal again, for that is how its LM term was trained; what
    blank infilling read in both directions is then read causally as well.

    Raises:
        UserError: no such folder, or transformers has no language model of this kind.
    """
    if not isinstance(model, MLCModel):
        model = _load_ours(str(Path(model).expanduser()))
    if model.config.lora is not None:
        raise UserError("this model has adapters of a run that did not end", remedy="call merge_lora() on it first")
    whole: Any = model.family.whole(model.backbone, model.lm_head)
    return whole.to(model.device).eval()
