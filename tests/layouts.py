"""Tiny made-up data in the official layouts, for tests of formats, tasks and stages; `write_all` makes every one."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

WORDS = ["one", "two", "three", "four", "five", "six", "seven", "eight"]


def sentence(language: str, number: int) -> str:
    """Sentence `number` in a made-up form of a language; `meaning` undoes it."""
    return f"{WORDS[number % 8]} {number} in {language}"


def meaning(text: str) -> int:
    """The number of a sentence; 399 for a lone word, such as the name of a label."""
    words = text.split(" ")
    return int(words[1]) if len(words) > 1 else 399


def write(path: Path, lines: list[str], ending: str = "\n") -> None:
    """Write lines, zipped if the name says so."""
    path.parent.mkdir(parents=True, exist_ok=True)
    data = "".join(line + ending for line in lines).encode()
    path.write_bytes(gzip.compress(data, mtime=0) if path.suffix == ".gz" else data)


def tatoeba(root: Path, codes: tuple[str, ...] = ("deu", "cmn", "dtp", "kzj"), n: int = 8) -> None:
    for code in codes:
        write(root / "tatoeba" / f"tatoeba.{code}-eng.{code}", [sentence(code, i) for i in range(n)])
        write(root / "tatoeba" / f"tatoeba.{code}-eng.eng", [sentence("eng", i) for i in range(n)])


def ntrex(root: Path, codes: tuple[str, ...] = ("deu", "zho-CN", "zho-TW"), documents: int = 92) -> None:
    folder = root / "ntrex"
    ids = [f"doc.{document}" for document in range(documents) for _ in range(2)]
    write(folder / "DOCUMENT_IDS.tsv", ids)
    for code in ("eng", *codes):
        kind = "src" if code == "eng" else "ref"
        lines = [sentence(code, i) for i in range(len(ids))]
        write(folder / "NTREX-128" / f"newstest2019-{kind}.{code}.txt.gz", lines, "\r\n")


def pud(root: Path, codes: tuple[str, ...] = ("deu", "eng", "zho"), n: int = 6) -> None:
    for code in codes:
        write(root / "pud" / f"pud.{code}.txt", [sentence(code, i) for i in range(n)])
    write(root / "pud" / "pud.sent_id.txt", [f"n01{i // 2:03}{i:03}" for i in range(n)])


TOPICS = ("travel", "science/technology", "politics", "sports", "health", "entertainment", "geography")


def sib200(
    root: Path, codes: tuple[str, ...] = ("deu_Latn", "eng_Latn", "kor_Hang"), n: int = 6, train: int = 60
) -> None:
    """Every second sentence is about travel."""
    for code in codes:
        for split, numbers in (("dev", range(n)), ("train", range(100, 100 + train))):
            topics = [TOPICS[0] if i % 2 else TOPICS[1 + i // 2 % 6] for i in numbers]
            rows = [
                f'{i}\t{topic}\t"{sentence(code, i)}, ""quoted"""' for i, topic in zip(numbers, topics, strict=True)
            ]
            path = root / "sib200" / "data" / "annotated" / code / f"{split}.tsv.gz"
            write(path, ["index_id\tcategory\ttext", *(rows if code == "eng_Latn" else rows[::-1])])


def stsb(root: Path, codes: tuple[str, ...] = ("de", "en", "zh"), n: int = 6, train: int = 60) -> None:
    for code in codes:
        for split, numbers in (("dev", range(n)), ("train", range(100, 100 + train))):
            rows = [f'"{sentence(code, i)}, x",{sentence(code, 40 + (i * i) % 7)},{5 - i % 6}.0' for i in numbers]
            write(root / "stsb" / "data" / f"stsb-{code}-{split}.csv.gz", rows, "\r\n")


def bucc(root: Path, codes: tuple[str, ...] = ("de", "zh"), n: int = 60, planted: int = 20) -> None:
    """Sentence i of both sides means the same for the planted ones; the others have no translation."""
    for code in codes:
        name = root / "bucc2018" / f"{code}-en" / f"{code}-en.sample"
        write(Path(f"{name}.{code}.gz"), [f"{code}-{i}\t{sentence(code, i)}" for i in range(n)])
        english = [*range(planted), *range(n, 2 * n - planted)]
        write(Path(f"{name}.en.gz"), [f"en-{i}\t{sentence('en', i)}" for i in english[::-1]])
        write(Path(f"{name}.gold.gz"), [f"{code}-{i}\ten-{i}" for i in range(planted)])


def xquad(root: Path, codes: tuple[str, ...] = ("de", "en", "zh"), paragraphs: int = 30) -> None:
    """Two questions a paragraph; a question means what its paragraph means."""
    for code in codes:
        data = []
        for i in range(paragraphs):
            answers = [{"text": "x", "answer_start": 0}]
            questions = [sentence(f"{code} {form}?", i) for form in ("who", "what")]
            qas = [{"id": f"q{i}.{n}", "question": text, "answers": answers} for n, text in enumerate(questions)]
            data.append({"title": "t", "paragraphs": [{"context": sentence(f"{code}.", i), "qas": qas}]})
        write(root / "xquad" / f"xquad.{code}.json.gz", [json.dumps({"data": data})])


def write_all(root: Path) -> Path:
    """Every layout under one root."""
    for layout in (tatoeba, ntrex, pud, sib200, stsb, bucc, xquad):
        layout(root)
    return root
