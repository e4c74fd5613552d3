"""Mine translation pairs from two monolingual collections, by margin scores of their vectors.

In: two text files with a model, two files of vectors, or both. Out: pairs, best first; `.tsv` or `.tsv.gz` has score,
source and target, as LASER's tools write them, `.parquet` the line numbers as well. Beside it stands a page with the
distribution of scores and pairs from all over it, to choose a threshold by eye. With gold pairs the threshold is
learned, and its precision and recall are measured on sentences that it was not learned from. What is done is kept in
OUT.unfinished until the end.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from rich.markup import escape

from mlcl.core.errors import UserError
from mlcl.core.files import atomic_file, existing, read_json, refuse_existing, write_json
from mlcl.core.progress import console, print_table, results, step

if TYPE_CHECKING:
    import numpy as np

    from mlcl.retrieval.neighbours import TwoWaySearch
    from mlcl.stages._mine_sides import Side


@dataclass(frozen=True)
class Config:
    """Settings of `mlcl mine`."""

    out: str
    """File for the pairs: .tsv, .tsv.gz or .parquet."""
    source: str | None = None
    """Text file with one sentence a line, plain or .gz."""
    target: str | None = None
    """Text file of the other language."""
    model: str | None = None
    """Encoder of the texts: an MLC, sentence-transformers or Hugging Face folder, or a hub id."""
    source_vectors: str | None = None
    """Vectors of the source lines instead of a model: .npy, or .raw/.f32/.bin as LASER writes them."""
    target_vectors: str | None = None
    """Vectors of the target lines."""
    dimension: int | None = None
    """Values of one vector in a .raw file."""
    k: int = 4
    """Size of the neighbourhoods."""
    margin: Literal["ratio", "distance", "absolute"] = "ratio"
    """Cosine divided by the mean cosine to the neighbours, less that mean, or alone (arXiv 1811.01136)."""
    retrieval: Literal["max", "intersect", "forward", "backward"] = "max"
    """max: the best pairs of both directions, each sentence once; intersect: pairs that both sides choose."""
    index: Literal["exact", "ivf"] = "exact"
    """exact: every similarity, computed once for both directions; ivf: FAISS cells, for tens of millions of lines."""
    threshold: float | None = None
    """Least score of a pair that is written; all are when not given."""
    gold: str | None = None
    """TSV file of right pairs, `source line<TAB>target line`, counted from 1: the threshold is learned from half of
    them and measured on the other."""
    device: str | None = None
    """Where texts are encoded and, with --index exact, vectors compared: cpu, cuda, cuda:1, mps; by default a GPU if
    there is one."""
    resume: bool = False
    """Go on with a run that was stopped."""
    overwrite: bool = False
    """Replace OUT where it exists."""


def run(config: Config) -> Path:
    """Mine, write OUT and its page, and return OUT.

    Raises:
        UserError: unreadable texts or vectors, options that do not go together, or an output that exists.
    """
    out = Path(config.out)
    _check(config)
    work = _work_folder(config, out)

    from mlcl.retrieval.mining import pairs_of
    from mlcl.retrieval.thresholds import best_threshold, halves
    from mlcl.stages._mine_sides import gold_pairs, read_sides
    from mlcl.stages._mine_write import Mined, write_page
    from mlcl.stages._pair_file import write_pairs

    try:
        source, target = read_sides(config, work)
        gold = gold_pairs(config.gold, source, target) if config.gold else None
        forward, backward = _neighbours(source, target, config, work)
        left, right, score = pairs_of(forward, backward, margin=config.margin, retrieval=config.retrieval)
        threshold, quality = config.threshold, None
        if gold is not None:
            tuning, test = halves(source.keys, gold, left, right, score)
            threshold = best_threshold(tuning) if threshold is None else threshold
            quality = _quality(test, threshold)
        mined = Mined(source, target, left, right, score, threshold)
        with step(f"writing {escape(out.name)}"):
            write_pairs(out, mined.pairs())
            page = write_page(out, mined, quality, config)
    except KeyboardInterrupt:
        console.print(f"stopped; what is done lies in {work}: continue with --resume", soft_wrap=True)
        raise
    except UserError:
        if any(work.glob("*.done")):
            console.print(f"what was encoded lies in {work}: continue with --resume", soft_wrap=True)
        else:
            shutil.rmtree(work)
        raise
    shutil.rmtree(work)
    if quality:
        header = ["measured on the other half", "%", "95 % interval"]
        rows = [(name, f"{value:.1f}", f"[{low:.1f}, {high:.1f}]") for name, value, low, high in quality]
        print_table(f"threshold {threshold:.4f}", header, rows)
    console.print(
        f"[green]✓[/green] {mined.kept:,} pairs of {len(source.keys):,} and {len(target.keys):,} sentences, "
        f"{len(score):,} before the threshold",
        soft_wrap=True,
    )
    results.print(f"report: {escape(str(page))}", soft_wrap=True)
    return out


def _check(config: Config) -> None:
    """Mistakes that can be seen in the settings alone."""
    from mlcl.stages._pair_file import format_of

    format_of(Path(config.out))
    if config.k < 1:
        raise UserError(f"k is {config.k}, it must be at least 1")
    for side in ("source", "target"):
        texts, vectors = getattr(config, side), getattr(config, f"{side}_vectors")
        if texts is None and vectors is None:
            raise UserError(f"nothing to mine: neither --{side} nor --{side}_vectors is given")
        if vectors is None and config.model is None:
            raise UserError(f"the texts of --{side} need --model or --{side}_vectors")
    if config.model is not None and config.source_vectors and config.target_vectors:
        raise UserError("--model has nothing to do: both sides have vectors", remedy="leave it out")
    if config.index == "ivf":
        from mlcl.core.errors import require

        require("faiss", "faiss")


def _work_folder(config: Config, out: Path) -> Path:
    """OUT.unfinished, new or to be continued."""
    from dataclasses import asdict

    work = out.with_name(out.name + ".unfinished")
    settings = {key: value for key, value in asdict(config).items() if key not in ("resume", "overwrite", "device")}
    settings["files (they have changed)"] = _files_digest(config)
    if config.resume:
        if not (work / "settings.json").is_file():
            raise UserError("there is no run to resume", path=work, remedy="start it without --resume")
        before = read_json(work / "settings.json")
        if different := sorted(key for key in settings if before.get(key) != settings[key]):
            raise UserError(f"the run was started with another {', '.join(different)}", path=work)
        return work
    refuse_existing(out, config.overwrite)
    if work.exists() and not config.overwrite:
        raise UserError("an unfinished run lies here", path=work, remedy="pass --resume or --overwrite")
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    write_json(work / "settings.json", settings)
    return work


def _files_digest(config: Config) -> str:
    """What lies behind the names in the settings: sizes and times of the files, and of those of the model."""
    from mlcl.stages._digest import digest
    from mlcl.stages._models import identity, named_models

    paths = (config.source, config.target, config.source_vectors, config.target_vectors, config.gold)
    found = [existing(path).stat() for path in paths if path is not None and path != "-"]
    model = None if config.model is None else identity(named_models([config.model])[0])
    return digest(model, [(one.st_size, one.st_mtime_ns) for one in found])


def _neighbours(source: Side, target: Side, config: Config, work: Path) -> tuple[Any, Any]:
    """Neighbours of both directions; what is found is kept in the work folder every minute."""
    import time

    import numpy as np

    from mlcl.core.progress import bar

    search = _search(source.vectors, target.vectors, config)
    kept = work / "neighbours.npz"
    if kept.exists():
        with np.load(kept) as state:
            search.restore(state)
        console.print(f"  continuing at sentence {search.done:,} of {search.total:,}")
    saved = started = time.monotonic()
    with bar() as progress:
        task = progress.add_task("comparing", total=search.total, completed=search.done)
        while search.done < search.total:
            search.advance()
            progress.update(task, completed=search.done)
            if time.monotonic() - saved > 60:
                with atomic_file(kept) as partial:
                    np.savez(partial, **search.state())  # type: ignore[arg-type]
                saved = time.monotonic()
    seconds = time.monotonic() - started
    console.print(
        f"[green]✓[/green] compared {len(source.vectors):,} x {len(target.vectors):,} sentences [dim]({seconds:.1f} s)"
    )
    return search.neighbours()


def _search(x: np.ndarray, y: np.ndarray, config: Config) -> TwoWaySearch:
    """The search that was asked for, not begun."""
    if config.index == "ivf":
        from mlcl.retrieval.ivf import BothWaysIvf

        return BothWaysIvf(x, y, config.k)
    from mlcl.core.hardware import usable_device
    from mlcl.retrieval.knn import BothWays

    return BothWays(x, y, config.k, device=usable_device(config.device))


def _quality(test: Any, threshold: float) -> list[tuple[str, float, float, float]]:
    """`(metric, value, low, high)` in per cent on the half that the threshold was not learned from."""
    from mlcl.retrieval.thresholds import METRICS, counts, scores
    from mlcl.tasks._bootstrap import bootstrap_ratio

    sums: np.ndarray = counts(test, threshold)
    columns = [scores(sums.sum(axis=0)[None])[0], *bootstrap_ratio(sums, scores)]
    return list(zip(METRICS, *((100 * column).tolist() for column in columns), strict=True))
