"""Find the topics of a collection in many languages, label them, and measure whether they follow content or language.

In: an encoder and texts in any languages, perhaps with their translations. Out: a folder with

    topics.jsonl   a line per text: text, language, topic (-1 = none), origin and group
    topics.json    measures, and per topic its size, languages and words in each language
    report.html    the same to read, with plots

Vectors are clustered by BERTopic (UMAP and HDBSCAN) whatever their language; words are found per language.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlcl.core.errors import UserError, require
from mlcl.topics.cluster import EXTRA, OUTLIER, ClusterOptions

if TYPE_CHECKING:
    import numpy as np

    from mlcl.stages._collection import Document

_FOLLOWS_LANGUAGE = 0.8  # mean entropy below which the report advises centring


@dataclass(frozen=True)
class Config:
    """Settings of `mlcl topics`."""

    model: str
    """MLC folder, sentence-transformers folder, Hugging Face encoder, or the hub id of one."""
    out: str
    """Folder to make: topics.jsonl, topics.json, report.html."""
    texts: str | None = None
    """Collection: a .jsonl file (fields text, language, perhaps group), a text file, a folder of them, or a corpus."""
    data: str | None = None
    """Folder of published data sets; NTREX 74-92 and SIB-200 dev join the collection, to see if translations agree."""
    language: str = ""
    """Language of the texts where the file does not say it."""
    pattern: str = ""
    """File names in a folder of text files, such as mono.{language}.txt."""
    languages: list[str] | None = None
    """Languages to keep; all when not given."""
    per_language: int = 2000
    """Most texts of a language, chosen by a hash that keeps translations together; 0 takes all."""
    centre: bool = False
    """Take the mean vector of its language out of every vector, for encoders whose clusters follow languages."""
    clusters: ClusterOptions = field(default_factory=ClusterOptions)
    """Size and number of topics."""
    words: int = 8
    """Words of a label."""
    prompt: str | None = None
    """Prefix of every text: a name that the model knows, or the prefix itself."""
    batch_size: int | None = None
    """Texts that are encoded at once; the encoder decides when not given."""
    device: str | None = None
    """cpu, cuda, cuda:1, mps; by default a GPU if there is one."""
    overwrite: bool = False
    """Replace OUT where it exists."""


def run(config: Config) -> Path:
    """Cluster, label, measure, print the summary, write the folder, and return it.

    Raises:
        UserError: no texts, a missing library or model, or an output that exists.
    """
    from mlcl.core.files import atomic_directory, refuse_existing, write_json
    from mlcl.core.progress import console, step
    from mlcl.reports.topics_report import html_page
    from mlcl.topics.cluster import centred, cluster, topic_size
    from mlcl.topics.labels import words_of

    out = Path(config.out)
    refuse_existing(out, config.overwrite)
    require("bertopic", EXTRA)
    documents = _documents(config)
    topic_size(config.clusters, len(documents))  # refuses what does not fit before anything is encoded
    languages = [document.language for document in documents]
    with step(f"words of {len(documents):,} texts in {len(set(languages))} languages"):
        words = words_of([document.text for document in documents], languages, show_progress=True)
    vectors = _vectors(config, [document.text for document in documents])
    with step("topics"):
        space = centred(vectors, languages) if config.centre else vectors
        topics = cluster(space, words, config.clusters)
    summary = _summary(documents, topics, vectors, space, config)
    described = _described(documents, topics, words, space, config.words)
    _print(summary, described)
    if summary["language_entropy"] < _FOLLOWS_LANGUAGE and not config.centre and len(set(languages)) > 1:
        console.print("[yellow]topics follow languages; --centre true may help[/yellow]")
    with atomic_directory(out, config.overwrite) as partial:
        with (partial / "topics.jsonl").open("w", encoding="utf-8") as file:
            for document, topic in zip(documents, topics.tolist(), strict=True):
                file.write(json.dumps({**asdict(document), "topic": topic}, ensure_ascii=False) + "\n")
        write_json(partial / "topics.json", {"summary": summary, "topics": described})
        page = html_page(summary, described, space, languages, topics)
        (partial / "report.html").write_text(page, encoding="utf-8")
    return out


def _documents(config: Config) -> list[Document]:
    from mlcl.core.languages import canonical
    from mlcl.stages._collection import chosen, read_published, read_texts

    if config.texts is None and config.data is None:
        raise UserError("there is no text", remedy="give --texts, or --data for the published sets alone")
    if config.per_language < 0 or config.words < 1:
        raise UserError(f"per_language is {config.per_language} and words is {config.words}; at least 0 and 1")
    wanted = None if config.languages is None else [canonical(tag) for tag in config.languages]
    own = list(read_texts(config.texts, config.language, config.pattern)) if config.texts is not None else []
    documents = chosen(own, wanted, config.per_language) if own else []
    if config.data is not None:
        among = wanted or sorted({document.language for document in documents}) or None
        documents += chosen(read_published(config.data, among), None, config.per_language)
    if not documents:
        raise UserError("there is no text", path=config.texts)
    return documents


def _vectors(config: Config, texts: list[str]) -> np.ndarray:
    from mlcl.model.encoder import Encoder

    encoder = Encoder.from_pretrained(config.model, config.device)
    return encoder.encode(texts, batch_size=config.batch_size, prompt=config.prompt, show_progress=True)


def _summary(
    documents: list[Document], topics: np.ndarray, vectors: np.ndarray, space: np.ndarray, config: Config
) -> dict[str, Any]:
    """The measures of the whole collection, for `topics.json`; shares are in [0, 1]."""
    import numpy as np

    from mlcl.topics.neutrality import agreement, language_variance, mean_entropy

    languages = [document.language for document in documents]
    translations = []
    for origin in dict.fromkeys(document.origin for document in documents):
        here = [place for place, document in enumerate(documents) if document.origin == origin]
        found = agreement(
            topics[here], [languages[place] for place in here], [documents[place].group for place in here]
        )
        if found is not None:
            translations.append(
                {
                    "origin": origin, "sentences": found.sentences, "languages": found.languages,
                    "agreement": found.mean, "by_chance": found.expected,
                    "mutual_information": found.mutual_information, "pivot": found.pivot,
                    "of_language": found.of_language(),
                    "pairs": [[None if np.isnan(share) else float(share) for share in row] for row in found.shared],
                }
            )  # fmt: skip
    return {
        "model": config.model,
        "texts": len(documents),
        "languages": dict(Counter(languages).most_common()),
        "centred": config.centre,
        "topics": int(topics.max()) + 1,
        "without_topic": float(np.mean(topics == OUTLIER)),
        "language_entropy": mean_entropy(topics, languages),
        "language_variance": language_variance(vectors, languages),
        "language_variance_clustered": language_variance(space, languages),
        "translations": translations,
    }


def _described(
    documents: list[Document], topics: np.ndarray, words: list[list[str]], space: np.ndarray, number: int
) -> list[dict[str, Any]]:
    """Each topic: size, entropy, languages, labels, and the texts nearest to its middle, one a language."""
    import numpy as np

    from mlcl.topics.labels import label
    from mlcl.topics.neutrality import entropies

    languages = [document.language for document in documents]
    labels = label(words, languages, topics, number)
    described = []
    for topic, entropy in entropies(topics, languages).items():
        members = np.flatnonzero(topics == topic)
        nearest = members[np.argsort(-(space[members] @ space[members].mean(axis=0)), kind="stable")]
        examples: dict[str, str] = {}
        for place in nearest.tolist():
            examples.setdefault(languages[place], documents[place].text)
        described.append(
            {
                "topic": topic,
                "texts": len(members),
                "language_entropy": entropy,
                "languages": dict(Counter(languages[place] for place in members.tolist()).most_common()),
                "words": labels[topic],
                "examples": dict(list(examples.items())[:3]),
            }
        )
    return described


def _print(summary: dict[str, Any], described: list[dict[str, Any]]) -> None:
    from rich.markup import escape
    from rich.table import Table

    from mlcl.core.progress import results
    from mlcl.reports.topics_report import measures, name_of

    table = Table(title="Topics", title_justify="left")
    for header in ("topic", "texts", "languages", "entropy", "words"):
        table.add_column(header, justify="left" if header == "words" else "right", overflow="fold")
    for one in described:
        table.add_row(
            str(one["topic"]), f"{one['texts']:,}", str(len(one["languages"])), f"{one['language_entropy']:.2f}",
            escape(name_of(one)),
        )  # fmt: skip
    results.print(table)
    for what, value, _ in measures(summary):
        results.print(f"{what}: {value}", soft_wrap=True)
