"""`read_plain_modules`: which sentence-transformers folders are plain, in the spelling of old and new versions."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mlcl.model.library_folder import PlainModules, read_plain_modules

TRANSFORMER = {"type": "sentence_transformers.models.Transformer", "path": ""}
POOLING = {"type": "sentence_transformers.models.Pooling", "path": "1_Pooling"}
NORMALIZE = {"type": "sentence_transformers.models.Normalize", "path": "2_Normalize"}
DENSE = {"type": "sentence_transformers.models.Dense", "path": "2_Dense"}
OLD_MEAN = {"word_embedding_dimension": 8, "pooling_mode_cls_token": False, "pooling_mode_mean_tokens": True}


def read(folder: Path, **files) -> PlainModules | None:
    names = {"modules": "modules.json", "transformer": "sentence_bert_config.json"}
    names |= {"pooling": "1_Pooling/config.json", "library": "config_sentence_transformers.json"}
    (folder / "1_Pooling").mkdir()
    for name, content in files.items():
        (folder / names[name]).write_text(json.dumps(content))
    return read_plain_modules(lambda file: folder / file if (folder / file).is_file() else None)


def test_a_plain_folder(tmp_path):
    plain = read(
        tmp_path,
        modules=[TRANSFORMER, POOLING, NORMALIZE],
        transformer={"max_seq_length": 128, "do_lower_case": False},
        pooling=OLD_MEAN,
        library={"prompts": {"query": "query: ", "document": ""}, "similarity_fn_name": "cosine"},
    )
    assert plain == PlainModules("mean", 128, unit=True, prompts={"query": "query: "})


def test_a_plain_folder_of_a_newer_version(tmp_path):
    text = {"method": "forward", "method_output_name": "last_hidden_state"}
    plain = read(
        tmp_path,
        modules=[{**TRANSFORMER, "type": "sentence_transformers.base.modules.transformer.Transformer"}, POOLING],
        transformer={"transformer_task": "feature-extraction", "modality_config": {"text": text}},
        pooling={"embedding_dimension": 8, "pooling_mode": "cls", "include_prompt": True},
    )
    assert plain == PlainModules("cls", None, unit=False, prompts={})


@pytest.mark.parametrize(
    "files",
    [
        {"modules": [TRANSFORMER, POOLING, DENSE]},
        {"modules": [TRANSFORMER]},
        {"modules": [{**TRANSFORMER, "path": "0_Transformer"}, POOLING]},
        {"transformer": {"max_seq_length": 128, "do_lower_case": True}},
        {"transformer": {"model_args": {"key_mapping": {}}}},
        {"pooling": {**OLD_MEAN, "include_prompt": False}},
        {"pooling": {**OLD_MEAN, "pooling_mode_cls_token": True}},
        {"pooling": {"pooling_mode": "weightedmean"}},
        {"pooling": {"pooling_mode_mean_sqrt_len_tokens": True}},
    ],
)
def test_folders_that_are_left_to_the_library(tmp_path, files):
    assert read(tmp_path, **{"modules": [TRANSFORMER, POOLING], "pooling": OLD_MEAN, **files}) is None
