"""What `mlcl quickstart` finds out about its encoder, and how it is written down.

In: the finished model and the held-out pools. Out: scores of the encoder and two baselines, answers to searches,
`results.json` and `report.html`.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mlcl.core.files import write_json
from mlcl.core.languages import name, script
from mlcl.core.progress import step
from mlcl.reports import quickstart_report
from mlcl.reports.plots import read_metrics
from mlcl.retrieval.tfidf import TfidfEncoder
from mlcl.stages.pipelines._held_out import (
    PIVOT,
    Pool,
    Score,
    Space,
    all_texts,
    averages,
    score,
)
from mlcl.tasks import Result
from mlcl.tasks._statistics import wilson

TRAINED, UNTRAINED, TFIDF = "this encoder", "untrained encoder", "character n-gram TF-IDF"
_MAP_LANGUAGES, _MAP_MESSAGES, _HEAT_LANGUAGES = 10, 60, 16


@dataclass(frozen=True)
class Measured:
    """Everything that was measured.

    Attributes:
        encoder: The finished encoder (`mlcl.Encoder`).
        space: Its vectors of all texts.
        pools: What each language was tested on.
        scores: Name of the encoder or baseline -> score per language.
    """

    encoder: Any
    space: Space
    pools: dict[str, Pool]
    scores: dict[str, list[Score]]

    @property
    def averages(self) -> dict[str, dict[str, tuple[float, int]]]:
        """Name -> group of languages -> (mean accuracy, number of languages)."""
        return {model: averages(scores) for model, scores in self.scores.items()}


@dataclass(frozen=True)
class Answer:
    """One search: the query, and `(language, text, cosine)` of the nearest text in each of the nearest languages."""

    query: str
    found: list[tuple[str, str, float]]


def measure(model: Path, pools: dict[str, Pool], pool_size: int, min_messages: int, seed: int) -> Measured:
    """Score the encoder, the same encoder before training, and TF-IDF on the same pools."""
    from transformers.utils import logging

    from mlcl.model.encoder import Encoder

    logging.disable_progress_bar()  # one line per file that is loaded says nothing here
    texts = all_texts(pools)
    scores = {}
    encoder = Encoder.from_pretrained(model)
    with step(f"measuring the encoder on {len(texts):,} held-out and other messages"):
        space = Space(encoder.encode, texts)
        scores[TRAINED] = score(pools, space, pool_size, min_messages)
    with step("measuring the baselines: the encoder before training, character n-grams"):
        with tempfile.TemporaryDirectory() as folder:
            make_untrained(model, Path(folder), seed)
            before = Space(Encoder.from_pretrained(folder).encode, texts)
        scores[UNTRAINED] = score(pools, before, pool_size, min_messages)
        scores[TFIDF] = score(pools, Space(TfidfEncoder(), texts), pool_size, min_messages)
    return Measured(encoder, space, pools, scores)


def make_untrained(model: Path, folder: Path, seed: int) -> None:
    """Save an encoder of the same shape and tokenizer with fresh random weights."""
    from transformers import AutoTokenizer, set_seed

    from mlcl.model.config import MLCConfig
    from mlcl.model.model import MLCModel

    set_seed(seed)
    MLCModel(MLCConfig.from_pretrained(model)).save_pretrained(folder)
    AutoTokenizer.from_pretrained(model).save_pretrained(folder)


def search(measured: Measured, queries: list[str], languages: int = 5) -> list[Answer]:
    """The nearest held-out text of each of the `languages` languages that come nearest to a query."""
    pools = measured.pools.values()
    candidates = sorted({(pool.language, text) for pool in pools for text in pool.translations})
    candidates += sorted({(PIVOT, text) for pool in pools for text in pool.english})
    vectors = measured.space.of([text for _, text in candidates])
    answers = []
    for query in queries:
        cosines = vectors @ measured.encoder.encode([query])[0]
        best: dict[str, tuple[str, str, float]] = {}
        for row in np.argsort(-cosines):
            language, text = candidates[row]
            if language not in best:
                best[language] = (language, text, float(cosines[row]))
            if len(best) == languages:
                break
        answers.append(Answer(query, list(best.values())))
    return answers


def write(
    out: Path, measured: Measured, answers: list[Answer], dropped: Counter[str], seed: int, facts: dict[str, str]
) -> None:
    """Write `results.json` and `report.html`.

    Args:
        out: The run's folder; its `training/metrics.jsonl` is drawn.
        measured: The scores and vectors.
        answers: The searches.
        dropped: Held-out messages that were left out, by reason.
        seed: The seed of the run.
        facts: Label -> value, for the head of the report.
    """
    rows = [row for model in measured.scores for row in result_rows(measured, model, seed)]
    write_json(out / "results.json", [asdict(row) for row in rows])
    languages = spread(measured, _HEAT_LANGUAGES)
    page = quickstart_report.page(
        facts=facts,
        averages=measured.averages,
        languages=language_rows(measured),
        metrics=read_metrics(out / "training" / "metrics.jsonl"),
        heat=(languages, closeness(measured, languages)),
        cloud=cloud(measured, spread(measured, _MAP_LANGUAGES)),
        seed=seed,
        searches=[(answer.query, answer.found) for answer in answers],
        dropped=dict(dropped.most_common()),
    )
    (out / "report.html").write_text(page, encoding="utf-8")


def result_rows(measured: Measured, model: str, seed: int) -> list[Result]:
    """Per language and direction with 95 % intervals, then the averages (`n` counts languages there)."""
    task, metric = "messages", "accuracy"
    rows = []
    for item in measured.scores[model]:
        tag, n = item.language, item.messages
        for direction, value in (
            (f"{tag}->{PIVOT}", item.to_english),
            (f"{PIVOT}->{tag}", item.from_english),
            ("mean", item.mean),
        ):
            low, high = wilson(value / 100, n)
            rows.append(Result(task, "dev", tag, tag, direction, metric, value, 100 * low, 100 * high, n, model, seed))
    for group, (value, n) in measured.averages[model].items():
        rows.append(Result(task, "dev", f"avg:{group}", "", "mean", metric, value, None, None, n, model, seed))
    return rows


def language_rows(measured: Measured) -> list[dict[str, Any]]:
    """Per language, largest first: names, counts, and the mean accuracy of each encoder or baseline."""
    by_language = {model: {item.language: item for item in scores} for model, scores in measured.scores.items()}
    ordered = sorted(measured.scores[TRAINED], key=lambda item: (-item.training_pairs, item.language))
    return [
        {
            "language": item.language,
            "name": name(item.language),
            "script": script(item.language),
            "training_pairs": item.training_pairs,
            "messages": item.messages,
            "pool": item.pool,
            "counted": item.counted,
            "to_english": item.to_english,
            "from_english": item.from_english,
            **{model: by_language[model][item.language].mean for model in by_language},
        }
        for item in ordered
    ]


def spread(measured: Measured, count: int) -> list[str]:
    """Languages that show much: the largest of each script in turn, until there are `count`."""
    ordered = [item.language for item in sorted(measured.scores[TRAINED], key=lambda item: -item.messages)]
    waiting: dict[str, list[str]] = {}
    for language in ordered:
        waiting.setdefault(script(language), []).append(language)
    chosen: list[str] = []
    while len(chosen) < min(count, len(ordered)):
        chosen += [languages.pop(0) for languages in waiting.values() if languages][: count - len(chosen)]
    return chosen


def closeness(measured: Measured, languages: list[str]) -> np.ndarray:
    """How much closer translations of one message are than texts of different messages.

    Returns:
        (L, L) mean cosine of the same message in two languages less that of different messages; NaN on the diagonal
        and where two languages share fewer than 5 messages.
    """
    sides = {
        language: dict(zip(measured.pools[language].english, measured.pools[language].translations, strict=True))
        for language in languages
    }
    values = np.full((len(languages), len(languages)), np.nan)
    for row, first in enumerate(languages):
        for column, second in enumerate(languages[:row]):
            shared = sorted(sides[first].keys() & sides[second].keys())
            if len(shared) < 5:
                continue
            cosines = measured.space([sides[first][key] for key in shared], [sides[second][key] for key in shared])
            same = np.trace(cosines) / len(shared)
            different = (cosines.sum() - np.trace(cosines)) / (len(shared) * (len(shared) - 1))
            values[row, column] = values[column, row] = same - different
    return values


def cloud(measured: Measured, languages: list[str]) -> tuple[np.ndarray, list[str], list[int]]:
    """Texts for a map of the space: the messages that most of the languages translate, and English.

    Returns:
        Vectors (N, D), language tags (N), number of the message (N).
    """
    common = Counter(text for language in languages for text in measured.pools[language].english)
    chosen = [text for text, _ in sorted(common.items(), key=lambda item: (-item[1], item[0]))[:_MAP_MESSAGES]]
    number = {text: place for place, text in enumerate(chosen)}
    points = [(PIVOT, text, place) for text, place in number.items()]
    for language in languages:
        pool = measured.pools[language]
        pairs = zip(pool.english, pool.translations, strict=True)
        points += [(language, there, number[here]) for here, there in pairs if here in number]
    tags, texts, places = zip(*points, strict=True)
    return measured.space.of(texts), list(tags), list(places)
