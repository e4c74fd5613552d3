"""All GPU comparisons, in one process.

    python benchmarks/gpu.py --out FOLDER [--only info_nce,lm_head,training_step,encode,kernels] [--quick]

Needs torch, triton and transformers only, and of this project only `mlcl.model` and `mlcl.objectives`. Peers run in
turn, timed with CUDA events; memory is what the allocator had at its peak above what was there before. The floor is the
arithmetic at the best bf16 product that this device showed at the start. `--quick --device cpu` tries the code itself.
"""

from __future__ import annotations

import argparse
import platform
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import info_nce as contrast
import lm_head as head
import torch
import torch.nn.functional as F
from floor import encoder_work
from gpu_bench import Bench, Result
from harness import Case, Job, version_of
from report import write_report
from torch import Tensor
from trainer_steps import make_model
from workload import sentence_lengths, token_ids

from mlcl.model.packing import Packed, pack, pad
from mlcl.objectives import info_nce, masked_lm_loss


def run_info_nce(bench: Bench) -> Iterator[Result]:
    """InfoNCE over N pairs and a queue of M; the share of the floor counts 6 N M d, without recomputation."""
    if bench.quick:
        yield _info_nce_case(bench, 64, 32, 16)
        return
    for d in (384, 768):
        for n, m in ((16_384, 0), (16_384, 65_536), (65_536, 65_536), (262_144, 65_536), (1_048_576, 65_536)):
            yield _info_nce_case(bench, n, m, d)


def _info_nce_case(bench: Bench, n: int, m: int, d: int) -> Result:
    queries, keys = (tensor.requires_grad_() for tensor in contrast.vectors(n, d, None, bench.device))
    queue = F.normalize(torch.randn(m, d, device=bench.device), dim=-1)

    def naive() -> Tensor:
        target = torch.arange(n, device=bench.device)
        logits, extra = queries @ keys.T / 0.05, queries @ queue.T / 0.05
        columns = torch.cat([logits, extra], dim=1).float()
        return (F.cross_entropy(columns, target) + F.cross_entropy(logits.T.float(), target)) / 2

    def ours() -> Tensor:
        return info_nce(queries, keys, negatives=queue if m else None, temperature=0.05)

    def job(loss: Callable[[], Tensor], half: bool) -> Job:
        def run() -> None:
            with bench.autocast(half):
                value = loss()
            value.backward()
            queries.grad = keys.grad = None

        def check() -> dict[str, float]:
            with bench.autocast(half), torch.no_grad():
                return {"loss": float(loss())}

        return Job(run=run, units=n, check=check)

    jobs = {"mlcl bf16": partial(job, ours, True)}
    if n <= 16_384:  # the matrix and its copies take 20 GB and more there
        jobs |= {"naive bf16": partial(job, naive, True), "naive fp32": partial(job, naive, False)}
    case = Case(f"N {n}, queue {m}, d {d}", {"n": n, "m": m, "d": d}, tuple(jobs), "pairs")
    rounds = 3 if n > 200_000 else bench.rounds
    return bench.case("InfoNCE, forward and backward", case, jobs, 6.0 * n * (n + m) * d, rounds)


def run_lm_head(bench: Bench) -> Iterator[Result]:
    """The LM head beside linear + cross-entropy and, where torch has it, `F.linear_cross_entropy`."""
    for t, d, v in [(32, 16, 301)] if bench.quick else [(4096, 768, 250_000), (16_384, 768, 250_000)]:
        yield _lm_head_case(bench, t, d, v)


def _lm_head_case(bench: Bench, t: int, d: int, v: int) -> Result:
    hidden, weight, bias, labels = head.inputs(t, d, v, bench.device)
    leaves = [tensor.requires_grad_() for tensor in (hidden, weight, bias)]

    def fused(hidden: Tensor, weight: Tensor, labels: Tensor, bias: Tensor) -> Tensor:
        states, matrix, offset = (tensor.to(torch.bfloat16) for tensor in (hidden, weight, bias))
        return F.linear_cross_entropy(states, matrix, labels, linear_bias=offset)

    def job(loss: Callable[..., Tensor]) -> Job:
        def value() -> Tensor:
            with bench.autocast():
                return loss(hidden, weight, labels, bias)

        def run() -> None:
            value().backward()
            for leaf in leaves:
                leaf.grad = None

        return Job(run=run, units=t, check=lambda: {"loss": float(value().detach())})

    jobs = {"mlcl bf16": partial(job, masked_lm_loss), "linear bf16 + CE": partial(job, head.naive)}
    if hasattr(F, "linear_cross_entropy"):
        jobs["torch linear_cross_entropy"] = partial(job, fused)
    case = Case(f"T {t}, V {v}, d {d}", {"t": t, "d": d, "v": v}, tuple(jobs), "tokens")
    return bench.case("LM head, forward and backward", case, jobs, 6.0 * t * d * v)


def _encoder_settings(bench: Bench) -> dict[str, Any]:
    if bench.quick:
        return {"layers": 2, "hidden": 32, "vocabulary": 300, "sentences": 16, "mean": 9.0, "longest": 24}
    return {"layers": 12, "hidden": 768, "vocabulary": 250_000, "sentences": 1024, "mean": 28.0, "longest": 128}


def _encoder_flop(packed: Packed, settings: dict[str, Any], training: bool) -> float:
    sizes = {name: settings[name] for name in ("layers", "hidden")}
    gemms = encoder_work(packed.lengths.numpy(), **sizes, training=training)["gemms"]
    return float(sum(2 * m * n * k * count for m, n, k, _, count in gemms))


def _sentences(settings: dict[str, Any]) -> Packed:
    lengths = sentence_lengths(settings["sentences"], mean=settings["mean"], longest=settings["longest"])
    return pack(token_ids(lengths, vocabulary=settings["vocabulary"]))


def run_training_step(bench: Bench) -> Iterator[Result]:
    """One optimiser update with InfoNCE: the packed stream beside one padded batch of the same sentences."""
    settings = _encoder_settings(bench)
    packed = _sentences(settings)
    pairs = torch.arange(settings["sentences"]).view(2, -1)  # rows in input order: anchors, positives
    ids = packed.input_ids.to(bench.device)
    padded, mask = pad(ids, packed.lengths, 1)

    def job(forward: Callable[[Any], Tensor]) -> Job:
        model = make_model(settings).to(bench.device).train()
        optimiser = torch.optim.AdamW(model.parameters(), lr=1e-5, fused=bench.device != "cpu")

        def loss() -> Tensor:
            with bench.autocast():
                vectors = F.normalize(packed.restore(forward(model)).float(), dim=-1)
                return info_nce(vectors[pairs[0]], vectors[pairs[1]], temperature=0.05)

        def run() -> None:
            loss().backward()
            torch.nn.utils.clip_grad_norm_([p for p in model.parameters() if p.grad is not None], 1.0)
            optimiser.step()
            optimiser.zero_grad()

        def value() -> dict[str, float]:
            with torch.no_grad():
                return {"loss": float(loss())}

        return Job(run=run, units=int(packed.lengths.sum()), check=value)

    jobs = {
        "mlcl packed": lambda: job(lambda model: model.forward_packed(ids, packed.lengths).embeddings),
        "mlcl padded": lambda: job(lambda model: model(padded, mask).embeddings),
    }
    case = Case(f"{settings['layers']} x {settings['hidden']}", settings, tuple(jobs), "real tokens")
    yield bench.case("Training step", case, jobs, _encoder_flop(packed, settings, training=True))


def run_encode(bench: Bench) -> Iterator[Result]:
    """Vectors of the same sentences: packed, padded to the longest, and padded in 16 batches of similar length."""
    settings = _encoder_settings(bench)
    packed = _sentences(settings)
    model = make_model(settings).to(bench.device).eval()
    ids = packed.input_ids.to(bench.device)
    parts = list(zip(torch.split(ids, _part_sizes(packed.lengths)), packed.lengths.chunk(16), strict=True))
    batches = [pad(part, lengths, 1) for part, lengths in parts]
    whole = pad(ids, packed.lengths, 1)
    with torch.inference_mode():
        exact = model(*whole).embeddings

    def job(forward: Callable[[], Tensor]) -> Job:
        def vectors() -> Tensor:
            with torch.inference_mode(), bench.autocast():
                return forward()

        def check() -> dict[str, float]:
            return {"least cosine": float(F.cosine_similarity(vectors().float(), exact, dim=-1).min())}

        return Job(run=lambda: vectors() is None, units=len(packed.lengths), check=check)

    jobs = {
        "mlcl packed": lambda: job(lambda: model.forward_packed(ids, packed.lengths).embeddings),
        "padded": lambda: job(lambda: model(*whole).embeddings),
        "padded, 16 sorted batches": lambda: job(lambda: torch.cat([model(*batch).embeddings for batch in batches])),
    }
    case = Case(f"{settings['layers']} x {settings['hidden']}", settings, tuple(jobs), "sentences")
    yield bench.case("Encoding, bf16", case, jobs, _encoder_flop(packed, settings, training=False))


def _part_sizes(lengths: Tensor) -> list[int]:
    return [int(part.sum()) for part in lengths.chunk(16)]


def run_kernels(bench: Bench) -> Iterator[Result]:
    """Every kernel against float64 at a small size; nothing is timed."""
    n, d, v = (48, 16, 150) if bench.quick else (1000, 384, 20_011)

    def contrastive(half: bool) -> Callable[[Tensor, Tensor, float], Tensor]:
        def loss(queries: Tensor, keys: Tensor, temperature: float) -> Tensor:
            with bench.autocast(half):
                return info_nce(queries, keys, temperature=temperature)

        return loss

    def language_model(half: bool) -> Callable[..., Tensor]:
        def loss(hidden: Tensor, weight: Tensor, labels: Tensor, bias: Tensor) -> Tensor:
            with bench.autocast(half):
                return masked_lm_loss(hidden, weight, labels, bias)

        return loss

    for title, errors in (
        ("InfoNCE against float64", lambda half: dict(contrast.gradient_errors(contrastive(half), n, d, bench.device))),
        ("LM head against float64", lambda half: head.gradient_errors(language_model(half), n, d, v, bench.device)),
    ):
        peers = {kind: {"seconds": [], "check": errors(kind == "bf16")} for kind in ("bf16", "fp32")}
        worst = {kind: max(peer["check"].values()) for kind, peer in peers.items()}
        print(f"{title}: largest error {worst}")
        yield {"comparison": "gpu", "title": title, "case": f"n {n}, d {d}", "settings": {"n": n, "d": d, "v": v},
               "unit": "", "rounds": 0, "ours": "bf16", "peers": peers, "ratios": {}, "floor": None}  # fmt: skip


COMPARISONS = {
    "kernels": run_kernels,
    "info_nce": run_info_nce,
    "lm_head": run_lm_head,
    "training_step": run_training_step,
    "encode": run_encode,
}


def machine(bench: Bench) -> dict[str, Any]:
    """What the numbers were measured on."""
    gpu = torch.cuda.get_device_name() if bench.device == "cuda" else "no GPU (code tried on the CPU)"
    return {
        "gpu": f"{gpu}, bf16 product {bench.flop_per_second / 1e12:.0f} TFLOP/s",
        "system": platform.platform(terse=True),
        "versions": {name: found for name in ("torch", "triton", "transformers") if (found := version_of(name))},
    }


def main(arguments: list[str] | None = None) -> int:
    """Run what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", required=True, type=Path, help="where the results go")
    parser.add_argument("--only", default=",".join(COMPARISONS), help=f"comma-separated: {', '.join(COMPARISONS)}")
    parser.add_argument("--quick", action="store_true", help="toy sizes: shows that everything runs, measures nothing")
    parser.add_argument("--rounds", type=int, default=None, help="timed repetitions of each peer (7; 2 with --quick)")
    parser.add_argument("--device", default="cuda", choices=("cuda", "cpu"), help="cpu is for trying the code")
    options = parser.parse_args(arguments)
    if options.device == "cuda" and not torch.cuda.is_available():
        parser.error("there is no CUDA device here; `--quick --device cpu` tries the code itself")
    if unknown := sorted(set(options.only.split(",")) - set(COMPARISONS)):
        parser.error(f"unknown comparison {', '.join(unknown)}; known: {', '.join(COMPARISONS)}")

    bench = Bench(options.device, options.quick, options.rounds or (2 if options.quick else 7))
    command = f"python benchmarks/gpu.py --only {options.only}" + (" --quick" if options.quick else "")
    results: list[Result] = []
    for name in options.only.split(","):
        for result in COMPARISONS[name](bench):
            results.append(result)
            write_report(options.out, machine(bench), results, command)
    print(f"results in {options.out / 'results.md'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
