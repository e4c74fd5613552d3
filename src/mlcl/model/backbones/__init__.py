"""Families of backbones, one file each: what a Hugging Face model needs to be a sentence encoder here.

In: a `model_type` of transformers. Out: its `Family`, which says how the encoder is cut out of a checkpoint or made
from a configuration, whether it runs packed, which language-model term it is trained with and how the whole language
model is put together again. A file defines `FAMILY` and is found by its name; a type that no file claims is a plain
encoder that runs padded (`_encoder.OTHER`).
"""

from __future__ import annotations

from functools import lru_cache

from mlcl.core import plugins
from mlcl.model.backbones._family import Family, Parts

__all__ = ["Family", "Parts", "family_of"]


def family_of(model_type: str) -> Family:
    """The family of a model type such as `xlm-roberta`."""
    from mlcl.model.backbones._encoder import OTHER

    return _families().get(model_type, OTHER)


@lru_cache
def _families() -> dict[str, Family]:
    parts = (plugins.load(__name__, name).FAMILY for name in plugins.names(__name__))
    return {model_type: family for family in parts for model_type in family.model_types}
