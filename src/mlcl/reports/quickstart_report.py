"""The report of `mlcl quickstart`: plain values in, one self-contained HTML page out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from mlcl.core.languages import name
from mlcl.reports import html, plots

_BAR_LANGUAGES = 30


def page(
    *,
    facts: Mapping[str, str],
    averages: Mapping[str, Mapping[str, tuple[float, int]]],
    languages: Sequence[Mapping[str, Any]],
    metrics: Sequence[Mapping[str, Any]],
    heat: tuple[Sequence[str], np.ndarray],
    cloud: tuple[np.ndarray, Sequence[str], Sequence[int]],
    seed: int,
    searches: Sequence[tuple[str, Sequence[tuple[str, str, float]]]],
    dropped: Mapping[str, int],
) -> str:
    """The page.

    Args:
        facts: Label -> value, for the head of the page.
        averages: Encoder or baseline -> group of languages -> (mean accuracy in %, number of languages).
        languages: One row per language: language, name, script, training_pairs, messages, pool, counted, to_english,
            from_english, and the mean accuracy of each encoder or baseline under its name.
        metrics: The lines of `metrics.jsonl`.
        heat: Language tags (L), and how much closer translations are than other texts (L, L).
        cloud: Vectors (N, D) of the texts on the map, their language tags (N) and the number of their message (N).
        seed: Seed of the map.
        searches: (query, [(language, text, cosine)]).
        dropped: Reason -> held-out messages that were left out.
    """
    models = list(averages)
    groups = list(dict.fromkeys(group for of in averages.values() for group in of))
    counts = {group: next(of[group][1] for of in averages.values() if group in of) for group in groups}
    summary = html.table(
        ["accuracy in %", "languages", *models],
        [[group, counts[group], *(averages[model].get(group, (None,))[0] for model in models)] for group in groups],
    )
    sections = [
        (
            "Result",
            html.paragraph(
                "The task: among the candidates, find the translation of a program message whose English text was held "
                "out of training in every language. Placeholders and mark-up are masked. The value is the mean of "
                "both directions; a tie with a wrong candidate is an error."
            )
            + summary
            + html.table(["", ""], list(facts.items())),
        ),
        (
            "Training",
            html.figure(plots.loss_curves(metrics), "Both terms of the objective, each under its own mean.", "svg"),
        ),
        (
            "Accuracy by language",
            html.figure(_bars(languages, models), f"The {_BAR_LANGUAGES} languages with most training pairs.", "svg"),
        ),
        (
            "Closeness of languages",
            html.figure(
                plots.heat_map(heat[1], [name(tag) for tag in heat[0]], label="cosine"),
                "Mean cosine of translations of one message, less that of different messages. Grey: too few in common.",
                "svg",
            ),
        ),
    ]
    vectors, tags, messages = cloud
    if len(vectors) > 2:
        figure = plots.space_map(vectors, [name(tag) for tag in tags], groups=messages, method="tsne", seed=seed)
        caption = "The same messages in several languages (t-SNE): where colours mix, texts lie by meaning."
        sections.append(("A map of the space", html.figure(figure, caption)))
    for query, found in searches:
        rows = [[name(language), text, cosine] for language, text, cosine in found]
        sections.append((f"Search: {query}", html.table(["language", "nearest text", "cosine"], rows, digits=2)))
    sections.append(("All languages", _all_languages(languages, models)))
    sections.append(("Left out of the test", html.table(["reason", "messages"], list(dropped.items()))))
    return html.page("mlcl quickstart", sections, "a multilingual encoder, trained and measured on this machine")


def _bars(languages: Sequence[Mapping[str, Any]], models: Sequence[str]) -> Figure:
    shown = ([row for row in languages if row["counted"]] or list(languages))[:_BAR_LANGUAGES]
    return plots.accuracy_bars({model: {row["name"]: row[model] for row in shown} for model in models})


def _all_languages(languages: Sequence[Mapping[str, Any]], models: Sequence[str]) -> str:
    header = ["tag", "language", "script", "training pairs", "held-out messages", "candidates", "in the averages"]
    keys = ["language", "name", "script", "training_pairs", "messages", "pool", "counted"]
    header += ["into English", "from English", *models]
    keys += ["to_english", "from_english", *models]
    few = sum(not row["counted"] for row in languages)
    note = f"{few} languages have too few messages to tell much; they are shown, but are not in the averages."
    return (html.paragraph(note) if few else "") + html.table(header, [[row[key] for key in keys] for row in languages])
