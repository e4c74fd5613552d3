"""The model card: what a model is, what it learnt from and how well it does, as the README.md of its folder.

In: the model's `config.json` and what the training run knows. Out: Markdown with the front matter that the Hugging Face
hub reads.
"""

from __future__ import annotations

import json
import struct
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

import yaml

from mlcl.core.files import atomic_file, read_json
from mlcl.core.languages import name
from mlcl.core.progress import warn

_TAGS = ["sentence-transformers", "sentence-similarity", "feature-extraction", "multilingual", "mlcl"]
_USAGE = """```python
import mlcl

encoder = mlcl.Encoder.from_pretrained("path/or/hub-id")
vectors = encoder.encode(["The page was deleted.", "Die Seite wurde gelöscht."])  # float32, of length 1
print(vectors[0] @ vectors[1])  # cosine similarity
```

The folder loads with sentence-transformers alone as well, and gives the same vectors:

```python
from sentence_transformers import SentenceTransformer

vectors = SentenceTransformer("path/or/hub-id").encode(["The page was deleted.", "Die Seite wurde gelöscht."])
```"""


def write_model_card(folder: str | Path, info: Mapping[str, Any]) -> Path | None:
    """Write `README.md` into the folder of a saved model; see `model_card` for `info`.

    A card is never worth losing a trained model for: whatever goes wrong becomes a warning, and None is returned.
    """
    folder = Path(folder)
    try:
        model = dict(read_json(folder / "config.json"))
        model["parameters"] = _parameters(folder)
        with atomic_file(folder / "README.md") as partial:
            partial.write_text(model_card(model, info), encoding="utf-8")
    except Exception as error:
        warn(f"no model card was written: {type(error).__name__}: {error}")
        return None
    return folder / "README.md"


def model_card(model: Mapping[str, Any], info: Mapping[str, Any]) -> str:
    """The text of a model card; what is not known is left out.

    Args:
        model: Content of the model's `config.json`; `parameters`, their number, may be added.
        info: What the run knows: `title`, `license` (a hub licence id), `languages` (tags), `sentences` (per tag),
            `origins` (name -> `{licence, texts}`), `steps`, `minutes`, `cpu_minutes`, `pairs_seen`, `settings` (those
            of the run), `results` (rows of results.json).
    """
    sentences = info.get("sentences") or {}
    languages = sorted(info.get("languages") or sentences or model.get("languages") or [])
    title = info.get("title") or "Multilingual sentence encoder"
    parts = [_front_matter(languages, info), f"# {title}", _summary(model, languages)]
    parts += ["## Use", _USAGE]
    if training := _training(info):
        parts += ["## Training", training]
    if origins := info.get("origins"):
        rows = [
            (origin, facts.get("licence") or "not stated", facts.get("texts", ""))
            for origin, facts in sorted(origins.items())
        ]
        parts += ["## Data", table(("origin", "licence", "texts"), rows)]
    if languages:
        counted = sorted(languages, key=lambda tag: (-sentences.get(tag, 0), tag))
        rows = [(tag, name(tag), sentences.get(tag, "")) for tag in counted]
        parts += ["## Languages", table(("tag", "language", "sentences"), rows)]
    if results := info.get("results"):
        header = ("task", "split", "metric", "direction", "languages", "number", "mean")
        parts += ["## Results", table(header, _scores(results))]
    return "\n\n".join(parts) + "\n"


def _front_matter(languages: Sequence[str], info: Mapping[str, Any]) -> str:
    header: dict[str, Any] = {}
    if languages:  # the hub knows languages, not scripts or regions
        header["language"] = sorted({tag.partition("-")[0] for tag in languages})
    header["library_name"] = "sentence-transformers"
    header["pipeline_tag"] = "sentence-similarity"
    header["tags"] = _TAGS
    header["license"] = info.get("license") or "other"
    if not info.get("license"):  # the licences of the data bind whoever publishes the model, and we cannot weigh them
        header["license_name"] = "see-the-licences-of-the-data"
    # Quoted where needed: to YAML, the language code `no` is the value false.
    return f"---\n{yaml.safe_dump(header, sort_keys=False, allow_unicode=True)}---"


def _summary(model: Mapping[str, Any], languages: Sequence[str]) -> str:
    backbone = model.get("backbone") or {}
    size = model.get("proj_size") or backbone.get("hidden_size") or backbone.get("d_model")  # of T5 and mBART
    where = f" in {len(languages)} languages" if languages else ""
    vectors = f" as vectors of {size} numbers" if size else ""
    facts = [
        f"Encodes sentences{where}{vectors}, so that translations lie close to each other. Made with mlcl.",
        f"- backbone: {backbone.get('model_type', 'unknown')}"
        + "".join(
            f", {backbone[key]:,} {label}"
            for key, label in (
                ("num_hidden_layers", "layers"), ("num_layers", "layers"), ("encoder_layers", "layers"),
                ("hidden_size", "hidden size"), ("d_model", "hidden size"), ("vocab_size", "vocabulary entries"),
            )
            if isinstance(backbone.get(key), int)
        ),
        f"- pooling: {model.get('pooling', 'mean')}" + (f", projected to {size}" if model.get("proj_size") else ""),
    ]  # fmt: skip
    if model.get("parameters"):
        facts.append(f"- parameters: {model['parameters'] / 1e6:.1f} million, the LM head included")
    if model.get("max_seq_length"):
        facts.append(f"- longest input: {model['max_seq_length']} tokens; longer texts are cut")
    return facts[0] + "\n\n" + "\n".join(facts[1:])


def _training(info: Mapping[str, Any]) -> str:
    training = (info.get("settings") or {}).get("training") or {}
    lines = []
    if "lm_weight" in training:
        weights = training.get("info_nce_weight", 1.0), training["lm_weight"]
        lines.append(f"Objective: {weights[0]} x InfoNCE + {weights[1]} x LM, each term under its own mean.")
    done = [
        f"{info[key]:,} {label}"
        for key, label in (
            ("steps", "steps"),
            ("pairs_seen", "sentence pairs"),
            ("minutes", "minutes"),
            ("cpu_minutes", "CPU minutes"),
        )
        if isinstance(info.get(key), (int, float))
    ]
    if done:
        lines.append(f"Done: {', '.join(done)}.")
    if training:
        settings = "\n".join(f"{key}: {json.dumps(value, ensure_ascii=False)}" for key, value in training.items())
        lines.append(f"Settings of the run:\n\n```yaml\n{settings}\n```")
    return "\n\n".join(lines)


def _scores(results: Sequence[Mapping[str, Any]]) -> list[tuple[Any, ...]]:
    """Averages of each task as its own rows give them (`avg:trained`), or the mean over its rows where it has none."""
    rows: dict[tuple[str, ...], dict[str, Any]] = defaultdict(dict)
    for row in results:
        key = tuple(str(row.get(part, "")) for part in ("task", "split", "metric", "direction"))
        rows[key][str(row.get("language", ""))] = row
    table: list[tuple[Any, ...]] = []
    for key, by_language in sorted(rows.items()):
        averages = {language: row for language, row in by_language.items() if language.startswith("avg:")}
        for language, row in averages.items():
            table.append((*key, language.removeprefix("avg:"), row.get("n", ""), f"{row['value']:.2f}"))
        if not averages and key[-1] in ("", "mean", "within"):  # one direction per pair of languages would fill pages
            mean = fmean(row["value"] for row in by_language.values())
            table.append((*key, "all", len(by_language), f"{mean:.2f}"))
    return table


def table(header: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """A Markdown table; numbers get their commas, bars and line breaks in a cell are kept from breaking it."""

    def line(cells: Sequence[Any]) -> str:
        shown = (f"{cell:,}" if isinstance(cell, int) else str(cell) for cell in cells)
        return "| " + " | ".join(" ".join(cell.split()).replace("|", "\\|") for cell in shown) + " |"

    return "\n".join([line(header), "|" + " --- |" * len(header), *map(line, rows)])


def _parameters(folder: Path) -> int:
    """Number of stored weights, from the headers of the safetensors files."""
    total = 0
    for file in folder.glob("*.safetensors"):
        with file.open("rb") as handle:
            (length,) = struct.unpack("<Q", handle.read(8))
            header = json.loads(handle.read(length))
        for key, tensor in header.items():
            if key != "__metadata__":
                count = 1
                for size in tensor["shape"]:
                    count *= size
                total += count
    return total
