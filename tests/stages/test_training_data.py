"""What `mlcl pretrain` says before it trains on a stream."""

from __future__ import annotations

import pytest

from mlcl.core.errors import UserError
from mlcl.stages import _training_data
from mlcl.stages.pretrain import Config
from mlcl.training.arguments import MLCTrainingArguments


@pytest.mark.parametrize("given", [None, 0, 1])
def test_a_stream_never_leaves_hard_negatives_out_in_silence(tmp_path, monkeypatch, given):
    said: list[str] = []
    monkeypatch.setattr(_training_data, "warn", said.append)
    training = {} if given is None else {"negatives_per_pair": given}
    args = MLCTrainingArguments(output_dir=str(tmp_path), report_to="none", **training)
    config = Config(corpus="corpus", out=str(tmp_path), training=training)
    if given == 1:
        with pytest.raises(UserError, match="hard negatives need an indexed corpus"):
            _training_data.check_stream(config, args)
        return
    _training_data.check_stream(config, args)
    assert len(said) == (given is None)
