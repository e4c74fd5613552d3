"""Pre-train a multilingual encoder on a corpus: InfoNCE with a momentum queue, and masked language modelling."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from mlcl.core.errors import UserError
from mlcl.core.progress import console, step, warn
from mlcl.stages._run_folder import checkpoint_of, last_checkpoint, nothing_half_started
from mlcl.stages._start import StartSettings, apply_start, check_start
from mlcl.stages._teacher import TeacherSettings, load_teacher
from mlcl.training.augmentation import AugmentationSettings
from mlcl.training.mixing import SamplingSettings


@dataclass(frozen=True)
class TokenizerSettings:
    """The tokenizer: one that exists, or a new one trained on the corpus."""

    path: str | None = None
    """Folder or hub id of a tokenizer; without it, that of model.model_name, or else a new one is trained."""
    vocab_size: int = 32_000
    """Entries of a new tokenizer."""
    alpha: float = 0.5
    """Exponent of the language sampling for a new tokenizer."""
    max_sentences: int | None = None
    """Most sentences that a new tokenizer is trained on; None = a few per entry."""


@dataclass(frozen=True)
class InitialisationSettings:
    """How a fresh backbone starts; a loaded one keeps its weights."""

    embeddings: Literal["random", "sentence-id"] = "random"
    """sentence-id: singular vectors of the corpus' token x sentence matrix, cross-lingual before the first step."""
    std: float = 0.1
    """Standard deviation of the sentence-id embeddings."""


@dataclass(frozen=True)
class Config:
    """Settings of `mlcl pretrain`."""

    corpus: str
    """Corpus folder, made by `mlcl corpus build`, or its URL (s3://, gs://, ...), which is streamed."""
    out: str
    """Run folder: metrics.jsonl, checkpoints, tokenizer, and the finished model in OUT/model."""
    tokenizer: TokenizerSettings = field(default_factory=TokenizerSettings)
    """The tokenizer."""
    model: dict[str, Any] = field(default_factory=dict)
    """Fields of MLCConfig: model_name, backbone, pooling, proj_size, max_length, ..."""
    sampling: SamplingSettings = field(default_factory=SamplingSettings)
    """Which pairs are drawn."""
    stream: bool = False
    """Read shards while training, for a corpus larger than the disk or the memory; always so for a URL. Nothing is
    indexed; docs/streaming.md says what that changes. Resume with as many ranks and workers."""
    buffer_rows: int = 524_288
    """Rows of the shuffle buffer of a stream, in each data-loader worker; about 360 bytes a row."""
    augmentation: AugmentationSettings = field(default_factory=AugmentationSettings)
    """Positives that are made rather than found."""
    initialisation: InitialisationSettings = field(default_factory=InitialisationSettings)
    """How a fresh backbone starts."""
    start: StartSettings = field(default_factory=StartSettings)
    """Which layers of a loaded backbone are taken over."""
    teacher: TeacherSettings = field(default_factory=TeacherSettings)
    """The teacher of the term training.objectives.distillation."""
    training: dict[str, Any] = field(default_factory=dict)
    """Fields of MLCTrainingArguments: per_device_train_batch_size (pairs), learning_rate, lm_weight, queue_size, ..."""
    resume: bool = False
    """Continue from the last checkpoint in OUT."""
    overwrite: bool = False
    """Start anew in an OUT that exists; its checkpoints are deleted."""
    skip_batches: list[int] = field(default_factory=list)
    """Numbers of batches to leave out, as bad-batch-NUMBER.json in OUT names them after a loss that is not finite."""


def run(config: Config) -> Path:
    """Pre-train, and return the folder of the finished model.

    Started by torchrun or accelerate, every process runs this. The first one makes what lies in OUT (on a file system
    that all of them see) while the others wait, and it alone speaks.

    Raises:
        UserError: settings or data that do not fit; before any expensive work where that can be known.
    """
    from transformers import set_seed
    from transformers.utils.logging import disable_progress_bar

    from mlcl.corpus.remote import is_remote, open_corpus
    from mlcl.model.model import MLCModel
    from mlcl.stages._training_data import check_stream, indexed, known_documents, streamed
    from mlcl.training.memory import keep_freed_memory
    from mlcl.training.mixing import check, steps_of_run
    from mlcl.training.settings import model_config, training_arguments
    from mlcl.training.sources import lm_corruption
    from mlcl.training.token_store import open_or_build
    from mlcl.training.trainer import MLCTrainer

    keep_freed_memory()
    disable_progress_bar()  # transformers' own: a line for each file that is saved
    out = Path(config.out)
    corpus, is_stream = open_corpus(config.corpus), config.stream or is_remote(config.corpus)
    own = {"overwrite_output_dir": config.overwrite} | (
        {"skip_batches": config.skip_batches} if config.skip_batches else {}
    )
    args = training_arguments({"output_dir": str(out), **config.training, **own})
    mlc_config = model_config(config.model)
    _check_lora(config, args)
    documents = None if is_stream else known_documents(corpus, args)
    config.augmentation.check(mlc_config, corpus.manifest["rows"]["mono"])
    check_start(config.start, config.model)
    if is_stream:
        check_stream(config, args)
    teacher = load_teacher(config.teacher, args.objectives, corpus)
    widths = {} if teacher is None else teacher.widths
    _check_terms(args, mlc_config.proj_size or (mlc_config.backbone or {}).get("hidden_size"), corpus.languages, widths)
    if config.sampling.pivot is not None:
        corpus.require([config.sampling.pivot])
    check(config.sampling, steps_of_run(args, 1_000_000), corpus.manifest.get("origins"))

    console.quiet = args.process_index > 0
    first = args.process_index == 0
    with nothing_half_started(out, first=first):
        with args.main_process_first(local=False):
            checkpoint = checkpoint_of(config, out, first=first)
            tokenizer = _tokenizer(config, corpus, out)
            mlc_config = _fit(mlc_config, tokenizer, args.max_length, corpus.languages)
            set_seed(args.seed)
            model = MLCModel(mlc_config)
            _check_vocabulary(model, tokenizer)
            lm_corruption(args, tokenizer, model.family)  # refuses a tokenizer that lacks what the LM term needs
            apply_start(model, config.start)
            _check_terms(args, model.dimension, corpus.languages, widths, model, tokenizer.all_special_ids)
            longest = args.longest_sentence(model.max_length, model.reach)
            if not is_stream:
                with step("token store"):
                    store = open_or_build(corpus, tokenizer, longest, out)
                columns = None if teacher is None else teacher.columns(corpus, store.group, out)
        if is_stream:
            data = streamed(corpus, tokenizer, longest, config, args)
        else:
            data = indexed(store, corpus, tokenizer, longest, config, args, documents, columns)
        if checkpoint is None and config.model.get("model_name") is None:
            _initialise(model, data.sentences, tokenizer, config.initialisation)
        trainer = MLCTrainer(
            model=model,
            args=args,
            train_dataset=data.source,
            eval_dataset=data.dev,
            processing_class=tokenizer,
        )
        _describe(model, data.pairs, len(corpus.languages), args)
        if not model.supports_packing:
            warn(f"a {model.backbone.config.model_type} backbone cannot run packed here; batches are padded by length")

    try:
        trainer.train(resume_from_checkpoint=checkpoint)
    except KeyboardInterrupt:
        saved = last_checkpoint(out)
        kept = f"{saved} is whole: continue with --resume" if saved else "no checkpoint was written yet"
        console.print(f"stopped at step {trainer.state.global_step}; {kept}", soft_wrap=True)
        raise
    return _finish(trainer, model, tokenizer, corpus, config, out)


def _check_lora(config: Config, args: Any) -> None:
    if config.model.get("lora") is None:
        return
    if config.model.get("model_name") is None:
        raise UserError(
            "model.lora trains adapters beside frozen weights, and those of a fresh backbone are random",
            remedy="give model.model_name, or leave lora out",
        )
    if args.fsdp:
        raise UserError("model.lora cannot be used with training.fsdp", remedy="use DDP, which torchrun starts")


def _tokenizer(config: Config, corpus: Any, out: Path) -> Any:
    from transformers import AutoTokenizer

    from mlcl.core.files import atomic_directory
    from mlcl.text.tokenizer import train_tokenizer, with_padding
    from mlcl.training.settings import model_config

    settings = config.tokenizer
    existing = settings.path or config.model.get("model_name")
    if existing is not None and str(existing).startswith((".", "/", "~")) and not Path(existing).expanduser().exists():
        raise UserError("no such folder", path=existing, remedy="give a folder with a tokenizer, or a hub id")
    folder = out / "tokenizer"
    if existing is None and not folder.exists():
        with step(f"training a tokenizer of {settings.vocab_size:,} entries"), atomic_directory(folder) as partial:
            tokenizer = train_tokenizer(
                corpus, vocab_size=settings.vocab_size, alpha=settings.alpha, max_sentences=settings.max_sentences
            )
            tokenizer.add_tokens(list(model_config(config.model).family.special_tokens), special_tokens=True)
            tokenizer.save_pretrained(partial)
    try:
        return with_padding(AutoTokenizer.from_pretrained(existing or folder))
    except (OSError, ValueError) as error:
        reason = str(error).partition("\n")[0].rstrip(":")
        remedy = "give a folder that holds tokenizer.json, or a hub id"
        raise UserError(f"cannot load the tokenizer: {reason}", path=existing or folder, remedy=remedy) from error


def _fit(config: Any, tokenizer: Any, max_length: int, languages: list[str]) -> Any:
    """Complete a fresh backbone's configuration with what the tokenizer decides."""
    config.languages = config.languages or languages
    config.max_seq_length = config.max_seq_length or max_length
    ids = {name: getattr(tokenizer, name) for name in ("pad_token_id", "bos_token_id", "eos_token_id")}
    for name, value in ids.items():
        setattr(config, name, value)  # else the Trainer does it, with a warning
    if config.model_name is None:
        defaults = {"model_type": "xlm-roberta", "max_position_embeddings": 514, "type_vocab_size": 1}
        config.backbone = {**defaults, **(config.backbone or {}), "vocab_size": len(tokenizer), **ids}
    return config


def _initialise(model: Any, sentences: Callable[[], Any], tokenizer: Any, settings: InitialisationSettings) -> None:
    from mlcl.training.initialisation import initialise_embeddings

    if settings.embeddings == "sentence-id":
        with step("sentence-id embeddings"):
            embedding = model.get_input_embeddings()
            initialise_embeddings(embedding, sentences(), tokenizer.all_special_ids, std=settings.std)


def _check_vocabulary(model: Any, tokenizer: Any) -> None:
    entries = model.get_input_embeddings().num_embeddings
    if len(tokenizer) > entries:
        raise UserError(
            f"the tokenizer has {len(tokenizer)} entries and the model {entries}", remedy="use the model's own"
        )


def _check_terms(
    args: Any,
    dimension: int | None,
    languages: list[str],
    widths: dict[str, int],
    model: Any = None,
    special_ids: list[int] | None = None,
) -> None:
    """Refuse terms that do not fit the model or the data, before any work; leaves random numbers as they are."""
    if dimension is None:  # that of a model that is still to be loaded
        return
    import torch

    from mlcl.training.terms import Context, FurtherTerms

    with torch.random.fork_rng(devices=[]):
        provides = {"ids", "languages", "negatives", "documents", *widths}
        FurtherTerms(args.objectives, Context(dimension, languages, provides, widths, model, special_ids))


def _describe(model: Any, pairs: int, languages: int, args: Any) -> None:
    from mlcl.training.terms import parse

    millions = sum(parameter.numel() for parameter in model.parameters()) / 1e6
    terms = [f"{args.info_nce_weight:g} x InfoNCE"] if args.info_nce_weight else []
    terms += [f"{args.lm_weight:g} x LM"] if args.uses_lm else []
    terms += [f"{term.weight:g} x {name}" for name, term in parse(args.objectives).items() if term.weight]
    queue = f", queue of {args.queue_size:,}" if args.uses_queue else ""
    console.print(
        f"  {millions:.1f} M parameters, {pairs:,} sentences with a translation in "
        f"{languages} languages, J = {' + '.join(terms)}{queue}, "
        f"{'bf16' if args.bf16 else 'fp32'} on {args.device}"
    )


def _finish(trainer: Any, model: Any, tokenizer: Any, corpus: Any, config: Config, out: Path) -> Path:
    """Save OUT/model whole, with tokenizer, languages and model card; print where it is."""
    from mlcl.core.files import atomic_directory, write_json
    from mlcl.reports.model_card import write_model_card
    from mlcl.training.sharding import full_state_dict

    folder = out / "model"
    model.merge_lora()
    weights = full_state_dict(model)  # under FSDP2 all processes have a part
    if trainer.is_world_process_zero():
        info = {
            "languages": corpus.languages,
            "sentences": corpus.sentences(),
            "origins": corpus.manifest.get("origins", {}),
            "steps": trainer.state.global_step,
            "minutes": round(trainer.stopwatch.elapsed / 60, 2),
            "cpu_minutes": round(trainer.stopwatch.cpu_elapsed / 60, 2),
            "pairs_seen": trainer.state.global_step * trainer.args.train_batch_size * trainer.args.world_size
            * trainer.args.gradient_accumulation_steps,
            "settings": json.loads(json.dumps(asdict(config), default=str)),
        }  # fmt: skip
        with atomic_directory(folder, overwrite=True) as partial:
            model.save_pretrained(partial, state_dict=weights)
            tokenizer.save_pretrained(partial)
            write_json(partial / "mlcl.json", info)
            write_model_card(partial, info)
        console.print(f"[green]✓[/green] {trainer.state.global_step} steps in {info['minutes']} min")
    return folder
