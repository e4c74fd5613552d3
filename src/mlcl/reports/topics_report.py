"""Topics of a multilingual collection to read.

In: summary and topics, as `topics.json` holds them, and the vectors. Out: one self-contained HTML page.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from mlcl.core.languages import name
from mlcl.reports import html, plots

_SHOWN_TOPICS = 40
_SHOWN_LABELS = 6
_MAP_TEXTS = 3000


def html_page(
    summary: Mapping[str, Any],
    topics: Sequence[Mapping[str, Any]],
    vectors: np.ndarray,
    languages: Sequence[str],
    assigned: np.ndarray,
) -> str:
    """The whole page.

    Args:
        summary: Measures of the collection, as `topics.json` holds them.
        topics: Its topics, as `topics.json` holds them.
        vectors: (N, D) vectors that were clustered.
        languages: Language of each of the N texts.
        assigned: (N,) topic of each text.
    """
    subtitle = f"{summary['texts']:,} texts in {len(summary['languages'])} languages · {summary['model']}"
    sections = [
        ("Summary", _summary(summary)),
        ("Topics", _topics(topics)),
        ("Words by language", _words(topics)),
        ("Languages of the topics", html.figure(_shares(topics, list(summary["languages"])), _SHARES)),
        ("Map", _map(vectors, languages, assigned)),
    ]
    sections[1:1] = [(f"Translations: {found['origin']}", _translations(found)) for found in summary["translations"]]
    return html.page("Topics", sections, subtitle)


_SHARES = "Share of a language's texts in each topic. Alike columns: the topics do not depend on the language."


def name_of(topic: Mapping[str, Any], number: int = 5) -> str:
    """Words that stand for a topic: in English if it has some, else in its largest language."""
    words: Mapping[str, list[str]] = topic["words"]
    chosen = words.get("en") or next(iter(words.values()), [])
    return ", ".join(chosen[:number])


def measures(summary: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """(measure, value, what it means) of the whole collection."""
    rows = [
        ("topics", f"{summary['topics']:,}", ""),
        ("texts without a topic", f"{100 * summary['without_topic']:.1f} %", "they lie between the clusters"),
        (
            "language entropy",
            f"{summary['language_entropy']:.3f}",
            "how mixed a topic is, mean over texts: 1 = like the collection, 0 = one language a topic",
        ),
        (
            "variance between languages",
            f"{100 * summary['language_variance_clustered']:.1f} %",
            f"of the vectors that were clustered; the encoder's own have {100 * summary['language_variance']:.1f} %",
        ),
    ]
    for found in summary["translations"]:
        rows.append(
            (
                f"translations in one topic ({found['origin']})",
                f"{100 * found['agreement']:.1f} %",
                f"{found['sentences']:,} sentences, mean over pairs of {len(found['languages'])} languages; by chance "
                f"{100 * found['by_chance']:.1f} %",
            )
        )
        rows.append(
            (
                f"adjusted mutual information ({found['origin']})",
                f"{found['mutual_information']:.3f}",
                f"of topics of translations, mean over languages against {found['pivot']}: 1 = one follows from the "
                "other, 0 = chance",
            )
        )
    return rows


def _summary(summary: Mapping[str, Any]) -> str:
    sizes = [(tag, name(tag), count) for tag, count in summary["languages"].items()]
    return html.table(["measure", "value", "meaning"], measures(summary)) + html.table(
        ["tag", "language", "texts"], sizes
    )


def _translations(found: Mapping[str, Any]) -> str:
    tags = found["languages"]
    matrix = np.array([[np.nan if share is None else 100 * share for share in row] for row in found["pairs"]])
    figure = plots.heat_map(matrix, tags, label="per cent in one topic", low=0.0, high=100.0)
    rows = sorted(found["of_language"].items(), key=lambda item: -item[1])
    return html.figure(figure, "Share of sentences whose translations fall into the same topic.") + html.table(
        ["tag", "language", "agreement with the others (%)"], [(tag, name(tag), 100 * share) for tag, share in rows]
    )


def _topics(topics: Sequence[Mapping[str, Any]]) -> str:
    rows = [
        (
            topic["topic"],
            topic["texts"],
            len(topic["languages"]),
            float(topic["language_entropy"]),
            name_of(topic),
            next(iter(topic["examples"].values()), ""),
        )
        for topic in topics
    ]
    return html.table(
        ["topic", "texts", "languages", "language entropy", "words", "text in its middle"], rows, digits=2
    )


def _words(topics: Sequence[Mapping[str, Any]]) -> str:
    rows = [
        (topic["topic"], tag, name(tag), topic["languages"].get(tag, 0), ", ".join(words))
        for topic in topics
        for tag, words in list(topic["words"].items())[:_SHOWN_LABELS]
    ]
    note = html.paragraph(
        f"Words that tell a topic from the other topics of the same language (c-TF-IDF); for each topic up to "
        f"{_SHOWN_LABELS} languages, the one with most texts first. All languages are in topics.json.",
        note=True,
    )
    return note + html.table(["topic", "tag", "language", "texts", "words"], rows)


def _shares(topics: Sequence[Mapping[str, Any]], tags: Sequence[str]) -> Figure:
    shown = list(topics)[:_SHOWN_TOPICS]
    sizes = {tag: sum(topic["languages"].get(tag, 0) for topic in topics) for tag in tags}
    shares = np.array([[topic["languages"].get(tag, 0) / max(sizes[tag], 1) for tag in tags] for topic in shown])
    figure = Figure(figsize=(max(5.0, 0.24 * len(tags) + 2.5), max(2.5, 0.24 * len(shown) + 1)), layout="constrained")
    axes = figure.add_subplot()
    image = axes.imshow(100 * shares, cmap="viridis", aspect="auto", vmin=0)
    axes.set_xticks(range(len(tags)), tags, rotation=90, fontsize=8)
    axes.set_yticks(range(len(shown)), [str(topic["topic"]) for topic in shown], fontsize=8)
    axes.set_ylabel("topic")
    figure.colorbar(image, ax=axes, shrink=0.8, label="per cent of the language")
    return figure


def _map(vectors: np.ndarray, languages: Sequence[str], assigned: np.ndarray) -> str:
    some = range(0, len(languages), max(1, len(languages) // _MAP_TEXTS))
    by_language = plots.space_map(vectors[some], [languages[place] for place in some])
    largest = [f"topic {topic}" if 0 <= topic < 12 else "others" for topic in assigned[some].tolist()]
    by_topic = plots.space_map(vectors[some], largest)
    caption = f"Principal components of {len(some):,} of the vectors that were clustered, by "
    return html.figure(by_language, caption + "language.") + html.figure(by_topic, caption + "topic.")
