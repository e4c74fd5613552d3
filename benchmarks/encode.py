"""Encoding texts of mixed length: `Encoder` beside sentence-transformers and OpenVINO, texts in, vectors out.

All peers tokenise with the same tokenizer inside the time and run the same weights: a 12 x 384 encoder whose linear
layers are initialised so that they matter (standard deviation 1 / sqrt(inputs)), mean pooling, length 1. The check is
the least cosine to float32 vectors made one text at a time by the plain Hugging Face model.

OpenVINO gets sorted batches, bfloat16 and pooling inside its graph; its batch size is the quickest of four on the first
texts, once for the latency hint and once for the throughput hint with asynchronous requests.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from floor import encoder_work
from harness import Case, Job
from workload import backbone_settings, sentence_lengths, text_of, token_ids, word_tokenizer

TITLE = "Encoding, mixed lengths"
_CHECKED = 48
_BATCHES = (16, 32, 64, 128)
_PEERS = ("mlcl", "mlcl fp32", "st defaults", "st bf16", "openvino bf16, latency", "openvino bf16, throughput")


def cases(quick: bool) -> list[Case]:
    """12 x 384 with a vocabulary of 250,000; a mean of 28 tokens."""
    settings = {"layers": 12, "hidden": 384, "vocabulary": 250_000, "texts": 2000, "mean": 28.0, "longest": 128}
    if quick:
        settings = {"layers": 2, "hidden": 128, "vocabulary": 300, "texts": 20, "mean": 9.0, "longest": 24}
    return [Case("toy" if quick else "12 x 384", settings, _PEERS, "sentences")]


def work(settings: dict[str, Any]) -> dict[str, Any]:
    """The products of the real tokens in bfloat16; tokenising is not in the floor."""
    return encoder_work(_lengths(settings), layers=settings["layers"], hidden=settings["hidden"], training=False)


def _lengths(settings: dict[str, Any]) -> np.ndarray:
    return sentence_lengths(settings["texts"], mean=settings["mean"], longest=settings["longest"])


def _texts(settings: dict[str, Any]) -> list[str]:
    return [text_of(ids) for ids in token_ids(_lengths(settings), vocabulary=settings["vocabulary"])]


def model_folder(settings: dict[str, Any]) -> Path:
    """The model as a sentence-transformers folder; made once per settings and kept among the temporary files."""
    import torch
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Normalize, Pooling, Transformer
    from transformers import XLMRobertaConfig, XLMRobertaModel

    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:12]
    folder = Path(tempfile.gettempdir()) / f"mlcl-benchmark-encode-{digest}"
    if (folder / "finished").is_file():
        return folder
    sizes = {name: settings[name] for name in ("layers", "hidden", "vocabulary", "longest")}
    torch.manual_seed(0)
    backbone = XLMRobertaModel(XLMRobertaConfig(**backbone_settings(**sizes)), add_pooling_layer=False)
    for module in backbone.modules():
        if isinstance(module, torch.nn.Linear):
            torch.nn.init.normal_(module.weight, std=module.in_features**-0.5)
    backbone.save_pretrained(folder / "start")
    word_tokenizer(settings["vocabulary"], settings["longest"]).save_pretrained(folder / "start")
    transformer = Transformer(str(folder / "start"), max_seq_length=settings["longest"])
    modules = [transformer, Pooling(settings["hidden"], "mean"), Normalize()]
    SentenceTransformer(modules=modules, device="cpu").save(str(folder))
    (folder / "finished").touch()
    return folder


def job(peer: str, settings: dict[str, Any]) -> Job:
    """All texts, from strings to vectors."""
    if peer.startswith("mlcl"):
        from mlcl.core.environment import tune_environment

        tune_environment()  # before torch is loaded: as `mlcl encode` does
    texts, folder = _texts(settings), model_folder(settings)
    maker = {"mlcl": _ours, "st": _library, "openvino": _openvino}[peer.partition(" ")[0]]
    encode = maker(peer, folder, texts)

    def check() -> dict[str, float]:
        vectors = encode(texts)[:_CHECKED]
        unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
        return {"least cosine": float((unit * _one_by_one(folder, texts[:_CHECKED])).sum(axis=1).min())}

    return Job(run=lambda: encode(texts) is None, units=len(texts), check=check)


def _one_by_one(folder: Path, texts: list[str]) -> np.ndarray:
    import torch
    from transformers import AutoModel, AutoTokenizer

    model, tokenizer = (
        AutoModel.from_pretrained(folder / "start").eval(),
        AutoTokenizer.from_pretrained(folder / "start"),
    )
    rows = []
    with torch.inference_mode():
        for text in texts:
            rows.append(model(**tokenizer(text, return_tensors="pt")).last_hidden_state.mean(dim=1))
    vectors = torch.cat(rows).numpy()
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def _ours(peer: str, folder: Path, texts: list[str]) -> Callable[[list[str]], np.ndarray]:
    from mlcl.model.encoder import Encoder

    return Encoder.from_pretrained(folder, device="cpu", dtype="float32" if "fp32" in peer else "auto").encode


def _library(peer: str, folder: Path, texts: list[str]) -> Callable[[list[str]], np.ndarray]:
    import torch
    from sentence_transformers import SentenceTransformer

    options = {"model_kwargs": {"dtype": torch.bfloat16}} if "bf16" in peer else {}
    model = SentenceTransformer(str(folder), device="cpu", **options)
    return lambda rows: np.asarray(model.encode(rows, show_progress_bar=False), dtype=np.float32)


def _openvino(peer: str, folder: Path, texts: list[str]) -> Callable[[list[str]], np.ndarray]:
    import openvino
    import torch
    from transformers import AutoModel, AutoTokenizer

    class Pooled(torch.nn.Module):
        """Token ids and mask (N, L) -> unit vectors (N, D)."""

        def __init__(self) -> None:
            super().__init__()
            self.backbone = AutoModel.from_pretrained(folder / "start", attn_implementation="eager").eval()

        def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
            hidden = self.backbone(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
            weight = attention_mask[..., None].float()
            return torch.nn.functional.normalize((hidden * weight).sum(1) / weight.sum(1), dim=-1)

    tokenizer = AutoTokenizer.from_pretrained(folder / "start")
    example = dict(tokenizer(texts[:2], padding=True, return_tensors="pt"))
    example = {name: example[name] for name in ("input_ids", "attention_mask")}
    with torch.no_grad():
        graph = openvino.convert_model(Pooled(), example_input=example)
    throughput = "throughput" in peer
    hints = {"PERFORMANCE_HINT": "THROUGHPUT" if throughput else "LATENCY", "INFERENCE_PRECISION_HINT": "bf16"}
    compiled = openvino.Core().compile_model(graph, "CPU", hints)
    queue = openvino.AsyncInferQueue(compiled) if throughput else None
    request = compiled.create_infer_request()
    dimension = AutoModel.from_pretrained(folder / "start").config.hidden_size

    def encode(rows: list[str], size: int) -> np.ndarray:
        vectors = np.empty((len(rows), dimension), dtype=np.float32)
        ids = tokenizer(rows, return_attention_mask=False)["input_ids"]
        order = np.argsort([-len(row) for row in ids], kind="stable")
        if queue is not None:
            queue.set_callback(lambda done, at: vectors.__setitem__(at, done.get_output_tensor().data))
        for start in range(0, len(rows), size):
            at = order[start : start + size]
            width = len(ids[at[0]])
            mask = np.arange(width) < np.array([len(ids[row]) for row in at])[:, None]
            padded = np.full(mask.shape, tokenizer.pad_token_id, dtype=np.int64)
            padded[mask] = np.concatenate([ids[row] for row in at])
            feed = {"input_ids": padded, "attention_mask": mask.astype(np.int64)}
            if queue is None:
                vectors[at] = request.infer(feed)[0]
            else:
                queue.start_async(feed, at)
        if queue is not None:
            queue.wait_all()
        return vectors

    sample = texts[:256]
    times = {}
    for size in _BATCHES:
        encode(sample, size)
        start = time.perf_counter()
        encode(sample, size)
        times[size] = time.perf_counter() - start
    best = min(times, key=times.__getitem__)
    return lambda rows: encode(rows, best)
