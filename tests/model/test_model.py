"""`MLCModel`: saving, loading, starting from checkpoints, and settings that cannot be."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import AutoConfig, AutoModel, BertConfig, BertForMaskedLM, XLMRobertaConfig, XLMRobertaForMaskedLM

from mlcl.core.errors import UserError
from mlcl.model.config import MLCConfig
from mlcl.model.model import MLCModel

SIZES = {
    "vocab_size": 90,
    "hidden_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "max_position_embeddings": 40,
    "pad_token_id": 1,
}
IDS = torch.tensor([[0, 5, 6, 7, 2], [0, 8, 2, 1, 1]])
MASK = (IDS != 1).long()


def test_save_and_load_give_the_same_vectors(tmp_path):
    model = MLCModel(MLCConfig(backbone={"model_type": "xlm-roberta", **SIZES}, proj_size=7, pooling="max")).eval()
    model.save_pretrained(tmp_path)
    for loaded in (MLCModel.from_pretrained(tmp_path), AutoModel.from_pretrained(tmp_path)):
        assert isinstance(loaded, MLCModel)
        output = loaded.eval()(IDS, MASK)
        assert output[0] is output.embeddings
        assert output.embeddings.shape == (2, 7)
        torch.testing.assert_close(output.embeddings, model(IDS, MASK).embeddings)
        torch.testing.assert_close(loaded.lm_head.dense.weight, model.lm_head.dense.weight)
    assert AutoConfig.from_pretrained(tmp_path).pooling == "max"


@pytest.mark.parametrize(
    ("config_class", "model_class"), [(XLMRobertaConfig, XLMRobertaForMaskedLM), (BertConfig, BertForMaskedLM)]
)
def test_a_checkpoint_brings_its_weights_and_its_head_and_is_never_read_again(tmp_path, config_class, model_class):
    torch.manual_seed(1)
    start = model_class(config_class(**SIZES)).eval()
    with torch.no_grad():
        start.get_output_embeddings().bias.normal_()
    start.save_pretrained(tmp_path / "start")
    model = MLCModel(MLCConfig(model_name=str(tmp_path / "start"))).eval()
    output, expected = model(IDS, MASK), start(input_ids=IDS, attention_mask=MASK, output_hidden_states=True)
    real = MASK.bool()
    torch.testing.assert_close(output.last_hidden_state[real], expected.hidden_states[-1][real], rtol=1e-4, atol=1e-5)
    states = model.lm_head(output.last_hidden_state[real])
    logits = states @ model.get_input_embeddings().weight.T + model.lm_head.bias
    torch.testing.assert_close(logits, expected.logits[real], rtol=1e-4, atol=1e-4)

    model.save_pretrained(tmp_path / "saved")
    (tmp_path / "start").rename(tmp_path / "gone")
    assert str(tmp_path / "start") not in (tmp_path / "saved" / "config.json").read_text()
    torch.testing.assert_close(MLCModel.from_pretrained(tmp_path / "saved")(IDS, MASK).embeddings, output.embeddings)


def test_a_saved_model_is_a_start_too(tmp_path):
    first = MLCModel(MLCConfig(backbone={"model_type": "xlm-roberta", **SIZES}, proj_size=7)).eval()
    first.save_pretrained(tmp_path)
    second = MLCModel(MLCConfig(model_name=str(tmp_path), pooling="cls")).eval()
    torch.testing.assert_close(second(IDS, MASK).last_hidden_state, first(IDS, MASK).last_hidden_state)
    torch.testing.assert_close(second.lm_head.dense.weight, first.lm_head.dense.weight)
    assert second.projection is None


def test_mean_pooling_ignores_padding_and_cls_takes_the_first_token():
    model = MLCModel(MLCConfig(backbone={"model_type": "xlm-roberta", **SIZES})).eval()
    output = model(IDS, MASK)
    torch.testing.assert_close(output.embeddings[1], output.last_hidden_state[1, :3].mean(0))
    model.config.pooling = "cls"
    output = model(IDS, MASK)
    torch.testing.assert_close(output.embeddings, output.last_hidden_state[:, 0])


def test_dropout_is_that_of_the_configuration():
    def dropout(**options) -> tuple[float, float]:
        config = MLCConfig(backbone={"model_type": "xlm-roberta", **SIZES}, **options).backbone_config()
        return config.hidden_dropout_prob, config.attention_probs_dropout_prob

    assert dropout() == (0.0, 0.0)
    assert dropout(hidden_dropout=None, attention_dropout=None) == (0.1, 0.1)
    assert dropout(hidden_dropout=0.2) == (0.2, 0.0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"pooling": "median"}, "unknown pooling 'median'"),
        ({"proj_size": 0}, "proj_size is 0"),
        ({"backbone": {"model_type": "xlm-robert"}}, "xlm-robert"),
        ({"backbone": {"model_type": "distilbert"}, "pooling": "pooler"}, "has none"),
        ({"model_name": "./no/such/folder"}, "cannot load the backbone"),
    ],
)
def test_what_cannot_be_is_refused(options, message):
    with pytest.raises(UserError, match=message):
        MLCModel(MLCConfig(**options))


def test_position_limit(tmp_path: Path):
    model = MLCModel(MLCConfig(backbone={"model_type": "xlm-roberta", **SIZES}))
    assert model.max_length == 38  # positions start after the padding's
    assert MLCModel(MLCConfig(backbone={"model_type": "xlm-roberta", **SIZES}, max_seq_length=9)).max_length == 9
