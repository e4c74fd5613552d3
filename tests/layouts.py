"""Tiny made-up data in the official layouts, for tests of formats, tasks and stages; `write_all` makes every one."""

from __future__ import annotations

import gzip
from pathlib import Path

WORDS = ["one", "two", "three", "four", "five", "six", "seven", "eight"]


def sentence(language: str, number: int) -> str:
    """Sentence `number` in a made-up form of a language; `meaning` undoes it."""
    return f"{WORDS[number % 8]} {number} in {language}"


def meaning(text: str) -> int:
    """The number of a sentence."""
    return int(text.split(" ")[1])


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


def sib200(root: Path, codes: tuple[str, ...] = ("deu_Latn", "eng_Latn", "kor_Hang"), n: int = 6) -> None:
    for code in codes:
        rows = [f'{i}\ttravel\t"{sentence(code, i)}, ""quoted"""' for i in range(n)]
        for split in ("train", "dev"):
            path = root / "sib200" / "data" / "annotated" / code / f"{split}.tsv.gz"
            write(path, ["index_id\tcategory\ttext", *(rows if code == "eng_Latn" else rows[::-1])])


def stsb(root: Path, codes: tuple[str, ...] = ("de", "en", "zh"), n: int = 6) -> None:
    for code in codes:
        rows = [f'"{sentence(code, i)}, x",{sentence(code, 40 + (i * i) % 7)},{5 - i % 6}.0' for i in range(n)]
        for split in ("train", "dev"):
            write(root / "stsb" / "data" / f"stsb-{code}-{split}.csv.gz", rows, "\r\n")


def write_all(root: Path) -> Path:
    """Every layout under one root."""
    for layout in (tatoeba, ntrex, pud, sib200, stsb):
        layout(root)
    return root
