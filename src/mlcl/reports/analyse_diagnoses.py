"""What is wrong with a run, in words: one small function for each illness, with its evidence and its remedy.

In: a `Run`. Out: `Verdict`s. A verdict has three forms: found, not found, or not known because the run lacks what it
would take to know; the evidence says what was looked at in each. Adding a diagnosis is adding one function here with
`@diagnosis`; its docstring is what the page shows as its name.

The limits are set so that a run that ends well has none of these; they are in the functions, beside their reasons.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import fmean, median
from typing import Any

from mlcl.core.languages import name
from mlcl.reports.analyse_run import Run

_FEW_LINES = 5  # logged steps under which a trend says nothing
_BOUNDS = (0.01, 1.0)  # of a learnable temperature (mlcl.training.temperature)


@dataclass(frozen=True)
class Verdict:
    """What a diagnosis says.

    Attributes:
        found: Whether the run has this illness; None where that cannot be known.
        evidence: The numbers that say so, in a sentence.
        remedy: What to do about it; empty unless found.
        key: Name of the function.
        title: What the illness is.
    """

    found: bool | None
    evidence: str
    remedy: str = ""
    key: str = ""
    title: str = ""


Diagnosis = Callable[[Run], Verdict]
DIAGNOSES: dict[str, Diagnosis] = {}


def diagnosis(check: Diagnosis) -> Diagnosis:
    """Enter a function under its name."""
    DIAGNOSES[check.__name__] = check
    return check


def diagnose(run: Run) -> list[Verdict]:
    """The verdict of every diagnosis, what was found first."""
    verdicts = []
    for key, check in DIAGNOSES.items():
        found = check(run)
        title = (check.__doc__ or key).strip().partition("\n")[0].rstrip(".")
        verdicts.append(Verdict(found.found, found.evidence, found.remedy if found.found else "", key, title))
    return sorted(verdicts, key=lambda verdict: (verdict.found is None, not verdict.found))


@diagnosis
def not_finite(run: Run) -> Verdict:
    """A loss became NaN or infinite."""
    if run.bad_batches:
        return Verdict(
            True,
            f"training was stopped by {_count(len(run.bad_batches), 'batch', 'batches')}: {', '.join(run.bad_batches)}",
            "look at the sentences in that file; continue without the batch with --resume --skip_batches NUMBER, or "
            "lower learning_rate if it was the weights and not the batch",
        )
    keys = ["loss", *run.terms, "grad_norm"]
    for line in run.lines:
        wrong = [key for key in keys if isinstance(line.get(key), float) and not math.isfinite(line[key])]
        if wrong:
            return Verdict(
                True, f"{' and '.join(wrong)} at step {line['step']}", "lower learning_rate, or lengthen warmup_steps"
            )
    return Verdict(False, "every logged loss is finite")


@diagnosis
def diverging(run: Run) -> Verdict:
    """The loss rises again."""
    key = "info_nce" if run.points("info_nce") else "loss"
    points = run.points(key)
    if len(points) < 2 * _FEW_LINES:
        return Verdict(None, f"only {len(points)} logged losses")
    values = [value for _, value in points]
    size = max(3, len(values) // 10)
    windows = [median(values[start : start + size]) for start in range(0, len(values) - size + 1, size)]
    last, best = median(values[-size:]), min(windows)
    evidence = f"{'InfoNCE' if key == 'info_nce' else key} {last:.3f} at the end, {best:.3f} at its best"
    # A tenth of what was gained in all, and more than logged lines scatter about a smooth curve, is no noise.
    noise = median(abs(a - 2 * b + c) for a, b, c in zip(values, values[1:], values[2:], strict=False))
    rise = last - best
    if rise > 0.1 * max(values[0] - best, 0) + 2 * noise and rise > 0.02 * max(best, 0.05):
        return Verdict(True, evidence, "lower learning_rate, lengthen warmup_steps, or let the rate decay to the end")
    return Verdict(False, evidence)


@diagnosis
def collapse(run: Run) -> Verdict:
    """The vectors collapse: sentences cannot be told apart."""
    rank, uniformity, dimension = run.last("effective_rank"), run.last("uniformity"), run.last("dev_dimension")
    if run.measures is not None and run.measures.groups:
        rank, uniformity, dimension = run.measures.effective_rank, run.measures.uniformity, run.measures.dimension
    evidence, ill = [], False
    if uniformity is not None:
        evidence.append(f"uniformity {uniformity:.2f} (0 = all vectors equal, {-4:g} = spread over the sphere)")
        ill = ill or uniformity > -0.3
    if rank is not None and dimension:
        evidence.append(f"effective rank {rank:.1f} of {dimension:.0f}")
        ill = ill or rank < max(2.0, 0.02 * dimension)
    late, chance = run.window("info_nce", 0.75, 1.0), _chance_loss(run)
    if late is not None and chance and len(run.points("info_nce")) >= _FEW_LINES:
        evidence.append(f"InfoNCE {late:.2f} in the last quarter, {chance:.2f} by chance")
        # Only a space without any order stays at chance; one that is merely slow to learn has left it by then.
        ill = ill or 0.995 * chance < late < 1.05 * chance
    if not evidence:
        return Verdict(None, "neither effective rank nor uniformity nor InfoNCE is known")
    return Verdict(
        ill,
        "; ".join(evidence),
        "lower learning_rate or raise temperature; with a queue, raise momentum; check that the two sides of the pairs "
        "are translations and not shuffled",
    )


@diagnosis
def leaking_positives(run: Run) -> Verdict:
    """Positives leak: the task is solved without understanding."""
    evidence, ill = [], False
    points, chance = run.points("info_nce"), _chance_loss(run)
    if points and chance:
        step, first = points[0]
        evidence.append(f"InfoNCE is {first:.2f} at step {step}, {chance:.2f} by chance")
        ill = (
            step <= max(0.1 * run.steps, 20)
            and first < 0.1 * chance
            and not run.settings.get("model", {}).get("model_name")
        )  # an encoder that was trained before may begin that well
    if run.measures is not None:
        share = run.measures.equal_sides
        evidence.append(f"{share:.1%} of {run.measures.sampled_pairs:,} pairs have two equal sides")
        ill = ill or share > 0.05
    if not evidence:
        return Verdict(None, "InfoNCE was not logged and the corpus was not looked at")
    return Verdict(
        ill,
        "; ".join(evidence),
        "remove pairs whose sides are copies or share a number or a mark that no other pair has, and check how "
        "anchor and positive are made",
    )


@diagnosis
def false_negatives(run: Run) -> Verdict:
    """False negatives: sentences that say the same count as different."""
    if run.measures is None:
        return Verdict(None, "the corpus was not looked at")
    share = run.measures.near_copies
    evidence = (
        f"{share:.1%} of {run.measures.sampled_pairs:,} pairs meet a near copy of one of their sides (8 of 10 token "
        "bigrams alike) under another group among their negatives"
    )
    return Verdict(
        share > 0.05, evidence,
        "build the corpus with near_duplicates: 0.8, which removes them; until then a smaller queue "
        "and batch meet fewer of them",
    )  # fmt: skip


@diagnosis
def starving_languages(run: Run) -> Verdict:
    """Languages starve: they are worse than the others and are drawn too seldom or too often."""
    if run.measures is None or not run.measures.accuracy:
        return Verdict(None, "the accuracy of single languages was not measured")
    known = {tag: pair for tag, pair in run.measures.accuracy.items() if pair[1] >= 20}
    if len(known) < 2:
        return Verdict(None, f"{len(known)} language{'s' * (len(known) != 1)} with 20 held-out sentences or more")
    usual = median(accuracy for accuracy, _ in known.values())
    behind = {}
    for tag, (accuracy, n) in known.items():
        error = math.sqrt(max(accuracy * (1 - accuracy), 0.25 / n) / n)
        if accuracy < usual - max(0.15, 3 * error):
            behind[tag] = accuracy
    if not behind:
        return Verdict(False, f"no language of {len(known)} is far below the median of {usual:.0%} on held-out groups")
    drawn, pairs = run.drawn(), (run.pairs_per_update or 0) * run.steps
    parts, remedies = [], []
    for tag, accuracy in sorted(behind.items(), key=lambda item: item[1]):
        times = pairs * drawn.get(tag, 0.0) / run.sentences[tag] if run.sentences.get(tag) else None
        seen = "" if times is None else f", each sentence drawn {times:.1f} times"
        parts.append(f"{name(tag)} ({tag}) {accuracy:.0%}{seen}")
        if times is not None and times < 1:
            remedies.append("lower sampling.alpha so that languages of few pairs are drawn more often, or train longer")
        elif times is not None and times > 10:
            remedies.append("more pairs or related languages for those that are repeated; raising sampling.alpha helps")
        else:
            remedies.append("check the pairs and the script of these languages: they are drawn, and do not align")
    shown = ", ".join(parts[:8]) + (f" and {len(parts) - 8} more" if len(parts) > 8 else "")
    return Verdict(True, f"median {usual:.0%}; {shown}", "; ".join(dict.fromkeys(remedies)))


@diagnosis
def lm_overwhelms(run: Run) -> Verdict:
    """The LM term overwhelms the contrastive term."""
    if not (run.points("lm") and run.points("info_nce")):
        return Verdict(None, "only one term was trained")
    weights = _weights(run)
    if weights is None:
        return Verdict(None, "the weights of the terms are unknown")
    ratio = _gradient_ratio(run, weights)
    if ratio is not None:
        evidence = f"weighted gradient of the LM term over that of InfoNCE: {ratio:.2f} (median of the second half)"
        return Verdict(ratio > 3, evidence, "lower lm_weight, or set lm_balance to gradient")
    late = {key: run.window(key, 0.5, 1.0) or 0.0 for key in ("info_nce", "lm")}
    weighted = {key: weights[key] * value for key, value in late.items()}
    share = weighted["lm"] / (sum(weighted.values()) or 1.0)
    evidence = f"the LM term is {share:.0%} of the weighted loss in the second half; gradients were not logged"
    # An LM loss of 6 beside an InfoNCE of 1 is usual at lambda = 1, and gradients differ less than losses do.
    return Verdict(share > 0.93, evidence, "lower lm_weight; set dynamics_steps to see the gradients of both terms")


@diagnosis
def lm_overwhelmed(run: Run) -> Verdict:
    """The LM term is overwhelmed: it does not learn."""
    points = run.points("lm")
    weights = _weights(run)
    if not points or weights is None or weights["lm"] == 0:
        return Verdict(None, "no LM term was trained")
    if len(points) < 2 * _FEW_LINES:
        return Verdict(None, f"only {len(points)} logged losses")
    early, late = points[0][1], run.window("lm", 0.9, 1.0)
    ratio = _gradient_ratio(run, weights)
    evidence = f"LM loss {early:.2f} at first, {late:.2f} at the end"
    evidence += "" if ratio is None else f"; weighted gradient ratio to InfoNCE {ratio:.3f}"
    learns = late is not None and late < 0.97 * early
    return Verdict(
        not learns and (ratio is None or ratio < 0.1), evidence,
        "raise lm_weight or lm_share, or leave the term out with lm_weight 0: it costs time and teaches nothing",
    )  # fmt: skip


@diagnosis
def conflicting_terms(run: Run) -> Verdict:
    """The two terms pull against each other."""
    points = run.points("gradient_cosine")
    if not points:
        return Verdict(None, "the gradients of the terms were not logged (dynamics_steps)")
    late = fmean(value for _, value in points[len(points) // 2 :])
    evidence = f"mean cosine of their gradients {late:+.2f} in the second half, over {len(points)} logged"
    return Verdict(
        late < -0.1, evidence,
        "lower lm_weight towards the end (lm_balance linear, lm_weight_end 0), or train the LM term first and alone",
    )  # fmt: skip


@diagnosis
def temperature_at_bound(run: Run) -> Verdict:
    """The learnable temperature sits at its bound."""
    if not run.training.get("learnable_temperature"):
        return Verdict(None, "the temperature was not learnt")
    value = run.last("temperature")
    if value is None:
        return Verdict(None, "the temperature was not logged")
    low, high = _BOUNDS
    evidence = f"temperature {value:.4f}, bounds {low:g} and {high:g}"
    if value < 1.02 * low:
        return Verdict(True, evidence, "a fixed temperature of 0.02 to 0.05, or fewer false negatives and copies")
    return Verdict(value > 0.98 * high, evidence, "a fixed temperature of 0.05, and a look at the pairs: nothing fits")


@diagnosis
def stale_queue(run: Run) -> Verdict:
    """The queue of negatives is stale."""
    size, pairs = run.training.get("queue_size") or 0, run.pairs_per_update
    if not size or not pairs or not run.steps:
        return Verdict(None, "there was no queue")
    momentum = float(run.training["momentum"])
    initial = momentum**run.steps
    evidence = [
        f"a key stays for {size / pairs:,.0f} updates of {pairs} pairs; with momentum {momentum:g} the key encoder has "
        f"{initial:.1%} of its first weights left after {run.steps:,} updates"
    ]
    ill = initial > 0.05 and not run.settings.get("model", {}).get("model_name")
    cosine = run.last("queue_cosine")
    if cosine is not None:
        evidence.append(f"its oldest keys have a cosine of {cosine:.2f} with fresh ones")
        ill = ill or cosine < 0.7
    filled = run.last("queue_filled")
    if filled is not None and filled < size:
        evidence.append(f"only {filled:,.0f} of {size:,} places were ever filled")
    return Verdict(
        ill, "; ".join(evidence),
        "a smaller queue_size, or a lower momentum for a run this short (keep momentum ** steps under 1 %)",
    )  # fmt: skip


@diagnosis
def data_starvation(run: Run) -> Verdict:
    """The data are too few for a run this long."""
    epochs = run.epochs
    if epochs is None:
        return Verdict(None, "the size of the corpus is unknown")
    evidence = [f"{epochs:.1f} draws for each sentence that has a translation"]
    accuracy = [value for _, value in run.points("eval_accuracy")]
    fell = max(accuracy) - accuracy[-1] if accuracy else 0.0
    if accuracy:
        evidence.append(f"dev accuracy {accuracy[-1]:.1%} at the end, {max(accuracy):.1%} at its best")
    late = run.window("info_nce", 0.9, 1.0)
    if late is not None:
        evidence.append(f"InfoNCE {late:.3f} at the end")
    memorised = late is not None and late < 0.01
    return Verdict(
        epochs > 10 and (fell > 0.02 or memorised), "; ".join(evidence),
        "more pairs, fewer steps, or more of what stands in for data: dropout, a larger lm_share",
    )  # fmt: skip


@diagnosis
def padding(run: Run) -> Verdict:
    """Much of the work is padding."""
    late = run.window("padding_fraction", 0.5, 1.0)
    if late is None:
        return Verdict(None, "padding was not logged")
    return Verdict(
        late > 0.25, f"{late:.0%} of what is computed is padding",
        "a backbone that runs packed (BERT, XLM-R, ModernBERT families), or larger batches, which sort better",
    )  # fmt: skip


@diagnosis
def waiting_for_data(run: Run) -> Verdict:
    """Training waits for data."""
    late = run.window("data_wait_fraction", 0.5, 1.0)
    if late is None:
        return Verdict(None, "waiting was not logged")
    return Verdict(
        late > 0.15, f"{late:.0%} of the time of a step went into waiting for the next batch",
        "raise dataloader_num_workers; keep the corpus and its token store on a local disk",
    )  # fmt: skip


def _chance_loss(run: Run) -> float | None:
    """InfoNCE of vectors without any order: the logarithm of the number of candidates; None where that is unknown."""
    if not run.training or run.training.get("margin"):
        return None
    candidates = int(run.training["per_device_train_batch_size"])
    filled = run.last("queue_filled")
    if not filled:
        return math.log(candidates)
    one_way = math.log(candidates + filled)
    return (one_way + math.log(candidates)) / 2 if run.training.get("symmetric", True) else one_way


def _weights(run: Run) -> Mapping[str, float] | None:
    """Weights of both terms in the second half; those that were logged (a schedule, a balance) go before settings."""
    if not run.training:
        return None
    weights: dict[str, Any] = {key: float(run.training[f"{key}_weight"]) for key in ("info_nce", "lm")}
    for key in weights:
        logged = run.window(f"{key}_weight", 0.5, 1.0)
        weights[key] = weights[key] if logged is None else logged
    return weights


def _gradient_ratio(run: Run, weights: Mapping[str, float]) -> float | None:
    """Lambda * |gradient of LM| over w * |gradient of InfoNCE|, medians of the second half."""
    norms = {key: run.window(f"gradient_norm_{key}", 0.5, 1.0) for key in ("info_nce", "lm")}
    lm, info_nce = norms["lm"], norms["info_nce"]
    if lm is None or not info_nce or not weights["info_nce"]:
        return None
    return weights["lm"] * lm / (weights["info_nce"] * info_nce)


def _count(number: int, one: str, many: str) -> str:
    return f"{number} {one if number == 1 else many}"
