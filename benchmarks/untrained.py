"""The floor of every table: an encoder like another one, same shape and tokenizer, with fresh random weights.

python benchmarks/untrained.py --like FOLDER --out FOLDER [--seed 0]
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from transformers import AutoTokenizer

from mlcl.core.files import atomic_directory
from mlcl.model.config import MLCConfig
from mlcl.model.model import MLCModel


def main() -> None:
    """Write the folder."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--like", required=True, help="folder of an MLC model")
    parser.add_argument("--out", required=True, type=Path, help="folder to make")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.manual_seed(options.seed)
    with atomic_directory(options.out) as folder:
        MLCModel(MLCConfig.from_pretrained(options.like)).save_pretrained(folder)
        AutoTokenizer.from_pretrained(options.like).save_pretrained(folder)
    print(options.out)


if __name__ == "__main__":
    main()
