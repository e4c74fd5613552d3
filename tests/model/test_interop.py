"""A saved MLC folder loads with the real sentence-transformers library and gives the vectors of our Encoder."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from mlcl.model.config import MLCConfig
from mlcl.model.encoder import Encoder
from mlcl.model.model import MLCModel

pytest.importorskip("sentence_transformers")

TEXTS = [
    "The page was deleted.",
    "ページを削除しました。",
    "Enter",
    "Die Seite wurde gelöscht. Enter your password " * 9,
]


def save(tiny_model: Path, folder: Path, **settings) -> Path:
    """A tiny model of another make with the tokenizer of `tiny_model`."""
    from transformers import AutoTokenizer

    config = MLCConfig.from_pretrained(tiny_model)
    backbone = {**config.backbone, **settings.pop("backbone", {})}
    torch.manual_seed(1)
    model = MLCModel(MLCConfig(backbone=backbone, **settings))
    for parameter in model.parameters():  # untrained biases are 0, and a lost bias would go unseen
        torch.nn.init.normal_(parameter, std=0.3)
    model.save_pretrained(folder)
    AutoTokenizer.from_pretrained(tiny_model).save_pretrained(folder)
    return folder


@pytest.mark.parametrize("pooling", ["mean", "cls", "max", "pooler"])
@pytest.mark.parametrize("proj_size", [None, 12])
def test_sentence_transformers_gives_the_same_vectors(tiny_model, tmp_path, pooling, proj_size):
    from sentence_transformers import SentenceTransformer

    folder = save(tiny_model, tmp_path / "model", pooling=pooling, proj_size=proj_size)
    theirs = SentenceTransformer(str(folder), device="cpu")
    expected = theirs.encode(TEXTS)
    assert expected.shape == (4, proj_size or 32)
    np.testing.assert_allclose(Encoder.from_pretrained(folder, device="cpu").encode(TEXTS), expected, atol=1e-5)
    assert theirs.max_seq_length == 64

    theirs.save(str(tmp_path / "saved"))  # an ordinary folder of theirs
    again = SentenceTransformer(str(tmp_path / "saved"), device="cpu").encode(TEXTS)
    np.testing.assert_allclose(again, expected, atol=1e-6)


def test_another_backbone_and_prompts(tiny_model, tmp_path):
    from sentence_transformers import SentenceTransformer

    backbone = {"model_type": "bert", "type_vocab_size": 2, "pad_token_id": 1}
    folder = save(tiny_model, tmp_path / "model", backbone=backbone, prompts={"query": "query: "})
    expected = SentenceTransformer(str(folder), device="cpu").encode(TEXTS, prompt_name="query")
    ours = Encoder.from_pretrained(folder, device="cpu").encode(TEXTS, prompt="query")
    np.testing.assert_allclose(ours, expected, atol=1e-5)


def test_the_folder_loads_where_mlcl_is_not_installed(tiny_model, tmp_path):
    folder = save(tiny_model, tmp_path / "model", proj_size=8)
    program = (
        "import sys; sys.modules['mlcl'] = None\n"  # any import of it fails
        "from sentence_transformers import SentenceTransformer\n"
        "import json; print(json.dumps(SentenceTransformer(sys.argv[1], device='cpu').encode(['Enter']).tolist()))"
    )
    done = subprocess.run([sys.executable, "-c", program, str(folder)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    theirs = np.array(json.loads(done.stdout.splitlines()[-1]))
    np.testing.assert_allclose(Encoder.from_pretrained(folder, device="cpu").encode("Enter"), theirs, atol=1e-5)


def test_auto_model_loads_the_folder(tiny_model):
    from transformers import AutoModel

    model = AutoModel.from_pretrained(tiny_model)
    assert isinstance(model, MLCModel)
    assert (Path(tiny_model) / "modules.json").is_file()
