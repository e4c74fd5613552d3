"""The data card: what a corpus holds, where it comes from and what was left out, as the README.md of its folder.

In: the manifest of a corpus, and what a look at its texts found. Out: Markdown with the front matter that the Hugging
Face hub and `datasets.load_dataset(FOLDER)` read.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from mlcl.core.languages import name
from mlcl.reports.model_card import table

# The hub's classes of size.
_SIZES = (
    (1e3, "n<1K"), (1e4, "1K<n<10K"), (1e5, "10K<n<100K"), (1e6, "100K<n<1M"), (1e7, "1M<n<10M"),
    (1e8, "10M<n<100M"), (1e9, "100M<n<1B"), (1e10, "1B<n<10B"), (1e11, "10B<n<100B"), (1e12, "100B<n<1T"),
)  # fmt: skip
_MOST_DIRECTIONS = 50
_COLUMNS = {
    "pairs": "`source_lang`, `target_lang`, `source`, `target`, `group`, `document`, `origin`, `negatives`",
    "mono": "`lang`, `text`, `group`, `document`, `origin`",
}


@dataclass(frozen=True)
class PersonalData:
    """What a look at some texts found.

    Attributes:
        texts: Texts that were looked at.
        found: Kind -> pieces that stand there in the open.
        masked: Kind -> texts with a placeholder of that kind.
    """

    texts: int
    found: Mapping[str, int]
    masked: Mapping[str, int]


def data_card(manifest: Mapping[str, Any], personal: PersonalData | None = None) -> str:
    """The text of a data card; what the manifest does not know is left out."""
    rows, languages = manifest["rows"], manifest["languages"]
    summary = (
        f"{rows['pairs']:,} translation pairs and {rows['mono']:,} single sentences in {len(languages)} languages. "
        "Made with mlcl; `report.html` shows the same with figures and samples, `manifest.json` for programs."
    )
    parts = [_front_matter(manifest), "# Multilingual corpus", summary, "## Use", _use(rows)]
    if origins := manifest.get("origins"):
        listed = sorted(origins.items(), key=lambda item: -item[1]["texts"])
        stated = [(origin, facts["licence"] or "not stated", facts["texts"]) for origin, facts in listed]
        note = "Whoever passes the corpus on, or a model trained on it, is bound by the licences of all origins."
        parts += ["## Origins and licences", table(("origin", "licence", "texts"), stated), note]
    counted = sorted(languages.items(), key=lambda item: (-sum(item[1].values()), item[0]))
    body = [(tag, name(tag), count["pairs"], count["mono"]) for tag, count in counted]
    parts += ["## Languages", table(("tag", "language", "sentences in pairs", "alone"), body), _directions(manifest)]
    if manifest.get("texts"):
        parts += ["## What was left out", _left_out(manifest)]
    if personal is not None:
        parts += ["## Personal data", _personal(personal, manifest)]
    return "\n\n".join(part for part in parts if part) + "\n"


def _front_matter(manifest: Mapping[str, Any]) -> str:
    rows = manifest["rows"]
    total = rows["pairs"] + rows["mono"]
    header = {
        "language": sorted({tag.partition("-")[0] for tag in manifest["languages"]}),
        "license": "other",  # the licences of the origins bind, and we cannot weigh them
        "license_name": "see-the-licences-of-the-origins",
        "multilinguality": "translation" if rows["pairs"] else "multilingual",
        "size_categories": [next((size for limit, size in _SIZES if total < limit), "n>1T")],
        "task_categories": ["sentence-similarity", *(["translation"] if rows["pairs"] else []), "fill-mask"],
        "tags": ["mlcl"],
        "configs": [
            {"config_name": kind, "data_files": [{"split": "train", "path": f"{kind}/*.parquet"}]}
            for kind in ("pairs", "mono")
            if rows[kind]
        ],
    }
    # Quoted where needed: to YAML, the language code `no` is the value false.
    return f"---\n{yaml.safe_dump(header, sort_keys=False, allow_unicode=True)}---"


def _use(rows: Mapping[str, int]) -> str:
    kinds = [kind for kind in ("pairs", "mono") if rows[kind]]
    loads = "\n".join(f'{kind} = load_dataset("path/or/hub-id", "{kind}", split="train")' for kind in kinds)
    columns = "\n".join(f"- `{kind}`: {_COLUMNS[kind]}" for kind in kinds)
    return (
        f"```python\nfrom datasets import load_dataset\n\n{loads}\n```\n\n```bash\n"
        "mlcl corpus stats FOLDER\nmlcl pretrain --config SETTINGS.yaml --corpus FOLDER --out RUN\n```\n\n"
        f"{columns}\n\nRows that share a `group` are versions of one sentence: none is a negative of another."
    )


def _directions(manifest: Mapping[str, Any]) -> str:
    directions = sorted(manifest.get("language_pairs", ()), key=lambda entry: -entry["rows"])
    if not directions:
        return ""
    body = [(entry["source_lang"], entry["target_lang"], entry["rows"]) for entry in directions[:_MOST_DIRECTIONS]]
    rest = len(directions) - len(body)
    more = f"\n\nAnd {rest} more, in `manifest.json`." if rest else ""
    return "### Pairs\n\n" + table(("source", "target", "rows"), body) + more


def _left_out(manifest: Mapping[str, Any]) -> str:
    texts = manifest["texts"]
    lines = [f"Of {texts['read']:,} texts that were read, {texts['kept']:,} are in and {texts['dropped']:,} are not."]
    if kept_out := manifest.get("evaluation_texts"):
        lines.append(f"{kept_out:,} evaluation texts were kept out, by exact match of their normalised form.")
    reasons: Counter[str] = Counter()
    origins: dict[str, Counter[str]] = defaultdict(Counter)
    for drop in manifest.get("drops", ()):
        reasons[drop["reason"]] += drop["texts"]
        origins[drop["reason"]][drop["origin"]] += drop["texts"]
    if reasons:
        most = {reason: ", ".join(f"{o} ({n:,})" for o, n in origins[reason].most_common(3)) for reason in reasons}
        body = [(reason, count, most[reason]) for reason, count in reasons.most_common()]
        lines.append(table(("reason", "texts", "most of them from"), body))
    return "\n\n".join(lines)


def _personal(personal: PersonalData, manifest: Mapping[str, Any]) -> str:
    dropped = sum(drop["texts"] for drop in manifest.get("drops", ()) if drop["reason"] == "personal data")
    lines = [
        f"In {personal.texts:,} texts from the beginnings of shards, patterns and checksums were tried for e-mail "
        "addresses, telephone numbers, bank accounts, payment cards and IP addresses. Names are not looked for."
    ]
    kinds = sorted({*personal.found, *personal.masked})
    if kinds:
        body = [(kind, personal.found.get(kind, 0), personal.masked.get(kind, 0)) for kind in kinds]
        lines.append(table(("kind", "found in the open", "texts where it is masked"), body))
    else:
        lines.append("None was found, and no placeholder of masked data.")
    if dropped:
        lines.append(f"{dropped:,} texts were dropped for personal data.")
    return "\n\n".join(lines)
