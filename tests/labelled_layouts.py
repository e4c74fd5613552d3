"""Tiny made-up data in the official layouts of the labelled tasks; the texts are those of `layouts`.

Sentence i has the label `LABEL[i % 4]` of its task: half of all examples have the first label, so that the most
frequent one is known.
"""

from __future__ import annotations

from pathlib import Path

from layouts import sentence, write


def label(labels: tuple[str, ...], number: int) -> str:
    """The label of sentence `number`: the first one for every second sentence, then the others in turn."""
    return labels[0] if number % 2 else labels[1 + number // 2 % (len(labels) - 1)]


XNLI = ("neutral", "entailment", "contradiction")
XNLI_HEADER = (
    "language gold_label sentence1_binary_parse sentence2_binary_parse sentence1_parse sentence2_parse sentence1 "
    "sentence2 promptID pairID genre label1 label2 label3 label4 label5 sentence1_tokenized sentence2_tokenized match"
).replace(" ", "\t")


def xnli_row(code: str, gold: str, premise: str, hypothesis: str, prompt: object, pair: object) -> str:
    return "\t".join([code, gold, *[""] * 4, premise, hypothesis, str(prompt), str(pair), "fiction", *[""] * 8])


def xnli(root: Path, codes: tuple[str, ...] = ("de", "en", "zh"), premises: int = 60) -> None:
    """Three pairs a premise, all languages in one file; one more language in its own."""

    def rows(code: str) -> list[str]:
        return [
            xnli_row(code, label(XNLI, 3 * i + n), sentence(code, i), sentence(code, 100 + 3 * i + n), i, 3 * i + n)
            for i in range(premises)
            for n in range(3)
        ]

    *together, last = codes
    write(root / "xnli" / "xnli.dev.tsv.gz", [XNLI_HEADER, *(row for code in together for row in rows(code))])
    write(root / "xnli" / f"xnli.dev.{last}.tsv.gz", [XNLI_HEADER, *rows(last)])


def pawsx(root: Path, codes: tuple[str, ...] = ("de", "en", "ko"), n: int = 60) -> None:
    """Rows 2i and 2i + 1 share their first sentence; every tenth row is not translated."""
    for code in codes:
        rows = []
        for i in range(n):
            second = "NS" if code != "en" and i % 10 == 9 else f'"{sentence(code, 100 + i)}'
            rows.append(f"{4 * i}\t{sentence(code, i // 2)}\t{second}\t{label(('0', '1'), i)}")
        write(root / "pawsx" / "x-final" / code / "dev_2k.tsv.gz", ["id\tsentence1\tsentence2\tlabel", *rows])


def afrisenti(root: Path, codes: tuple[str, ...] = ("amh", "deu", "eng"), n: int = 40) -> None:
    for code in codes:
        for start, part in enumerate(("train", "dev", "test")):
            numbers = range(start * n, (start + 1) * n)
            rows = [f'{sentence(code, i)} "\t{label(("negative", "neutral", "positive"), i)}' for i in numbers]
            write(root / "afrisenti" / "data" / code / f"{part}.tsv.gz", ["tweet\tlabel", *rows])


def fakenews(root: Path, n: int = 60) -> None:
    """All six collections, each with its own quirks."""
    folder = root / "fakenews"
    flags = [str(i % 2) for i in range(n)]
    for place, part in ((0, "train"), (100, "dev")):
        rows = [f"{sentence('ar', place + i)},{flags[i]}" for i in range(n)]
        write(folder / "ar-ans" / "data" / "claim" / f"{part}.csv.gz", ["claim_s,fake_flag", *rows])
    degrees = ["true", "false", "mostly-true", "pants-fire", "half-true", "barely-true"]
    for place, part in ((0, "train"), (100, "valid")):
        rows = [
            "\t".join([f"{i}.json", degrees[i % 6], f'"{sentence("en", place + i)}', *["x"] * 11]) for i in range(n)
        ]
        write(folder / "en-LIAR" / f"{part}.tsv.gz", rows)
    header = "Id\tCategory\tTopic\tSource\tHeadline\tText\tLink"
    for place, part in ((0, "train"), (100, "development")):
        rows = [f"{i}\t{'Fake' if i % 2 else 'True'}\tt\ts\th\t{sentence('es', place + i)}\tl" for i in range(n)]
        write(folder / "es-FakeNewsCorpusSpanish" / f"{part}.tsv.gz", [header, *rows])
    rows = [f"Fake/{i}\t{'fake' if i % 2 else 'real'}\t{sentence('ur', i)}" for i in range(n)]
    write(folder / "ur-BendTheTruth" / "train.tsv.gz", ["id\tlabel\ttext", *rows])
    rows = [f'"{sentence("vi", i)} two\nlines, ""quoted""",{i % 2}' for i in range(n)]
    write(folder / "vi-VFND" / "CSV" / "vn_news_226_tlfr.csv.gz", ["text,label", *rows], "\r\n")
    for place, part in ((0, "new_train"), (100, "new_dev")):
        rows = [f"{sentence('zh', place + i)} \t{'fake' if i % 2 else 'real'}" for i in range(n)]
        write(folder / "zh-CHECKED" / f"{part}.txt.gz", rows)


def tagged(code: str, number: int) -> list[tuple[str, str]]:
    """A sentence with one or two entities."""
    first, second = [("PER", "ORG"), ("LOC", "PER"), ("ORG", "LOC")][number % 3]
    words = [("in", "O"), (f"{code}{number}", f"B-{first}"), (f"of{number % 5}", f"I-{first}")]
    return [*words, ("and", "O"), (f"X{number}", f"B-{second}" if number % 2 else "O"), (".", "O")]


def wikiann(root: Path, codes: tuple[str, ...] = ("de", "en", "ru"), n: int = 60) -> None:
    for code in codes:
        for start, part in ((0, "train"), (100, "dev")):
            sentences = [[f"{code}:{word}\t{tag}" for word, tag in tagged(code, start + i)] for i in range(n)]
            write(
                root / "wikiann" / "panx_dataset" / code / f"{part}.gz", [line for s in sentences for line in [*s, ""]]
            )


def masakhaner(root: Path, codes: tuple[str, ...] = ("hau", "swa"), n: int = 20) -> None:
    """Version 2.0 in two languages, 1.0 in Amharic; the last entity of each part begins with I-."""
    for place in (*(f"MasakhaNER2.0/data/{code}" for code in codes), "data/amh"):
        for start, part in enumerate(("train", "dev", "test")):
            lines = []
            for i in range(n):
                lines += [f"{word} {tag}" for word, tag in tagged(place[-3:], start * n + i)]
                lines += ["on O", "Monday B-DATE", ""]
            write(root / "masakhaner" / place / f"{part}.txt.gz", [*lines, "again O", "Lagos I-LOC"])


def uner(root: Path, n: int = 20) -> None:
    for name, code in (("German", "de"), ("English", "en")):
        lines = []
        for i in range(n):
            lines += [f"# sent_id = n{i}", "# text = # of"]
            lines += [f"{k}\t{word}\t{tag}\t-\t-" for k, (word, tag) in enumerate(tagged(code, i), start=1)]
            lines += ["7\t#\tO\t-\t-", ""]
        write(root / "uner" / f"UNER_{name}-PUD" / f"{code}_pud-ud-test.iob2.gz", lines)


def write_all(root: Path) -> Path:
    """Every layout under one root."""
    for layout in (xnli, pawsx, afrisenti, fakenews, wikiann, masakhaner, uner):
        layout(root)
    return root
