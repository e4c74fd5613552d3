"""`Encoder`: order, batching, truncation, mistakes, and equality with the slow way and with sentence-transformers."""

from __future__ import annotations

import importlib.util
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

import mlcl.model.encoder as encoder_module
from mlcl.core.errors import UserError
from mlcl.model import inference
from mlcl.model.backends import LibraryBackend, ModelBackend
from mlcl.model.encoder import Encoder
from mlcl.model.model import MLCModel

TEXTS = [
    "The page was deleted.",
    "",
    "ページを削除しました。",
    "Enter",
    "The page was deleted.",
    "Die Seite wurde gelöscht. " * 8,
    "Enter your password",
]


@pytest.fixture(scope="module")
def encoder(tiny_model) -> Encoder:
    return Encoder.from_pretrained(tiny_model, device="cpu")


def one_by_one(folder: Path, texts: list[str]) -> np.ndarray:
    """The slow twin: each text alone, through `MLCModel.forward`."""
    from transformers import AutoTokenizer

    model, tokenizer = MLCModel.from_pretrained(folder).eval(), AutoTokenizer.from_pretrained(folder)
    with torch.no_grad():
        rows = [
            model(**tokenizer(text, return_tensors="pt", truncation=True, max_length=model.max_length))[0]
            for text in texts
        ]
    return torch.cat(rows).numpy()


def test_equal_to_the_model_one_text_at_a_time(encoder, tiny_model):
    expected = one_by_one(tiny_model, TEXTS)
    np.testing.assert_allclose(encoder.encode(TEXTS, normalize=False), expected, atol=1e-5)
    unit = expected / np.linalg.norm(expected, axis=1, keepdims=True)
    np.testing.assert_allclose(encoder.encode(TEXTS), unit, atol=1e-5)


@pytest.mark.parametrize("batch_size", [None, 1, 2, 100])
def test_order_and_company_do_not_matter(encoder, batch_size):
    together = encoder.encode(TEXTS, batch_size=batch_size)
    assert together.dtype == np.float32
    assert together.shape == (7, 32)
    assert together.flags.c_contiguous
    np.testing.assert_allclose(encoder.encode(TEXTS[::-1], batch_size=batch_size), together[::-1], atol=1e-5)
    for row, text in enumerate(TEXTS):
        np.testing.assert_allclose(encoder.encode(text), together[row : row + 1], atol=1e-5)


def test_blocks_and_token_budget_do_not_matter(encoder, monkeypatch):
    expected = encoder.encode(TEXTS)
    monkeypatch.setattr(encoder_module, "_BLOCK", 2)
    monkeypatch.setattr(encoder._backend, "tokens_per_batch", 70)
    np.testing.assert_allclose(encoder.encode(TEXTS), expected, atol=1e-5)


def test_batches_hold_equal_lengths_and_at_most_the_budget(encoder, monkeypatch):
    monkeypatch.setattr(encoder._backend, "tokens_per_batch", 100)
    sizes = np.array([5, 60, 7, 6, 200, 30, 5, 5])
    batches = list(encoder._batches(sizes, None))
    assert sorted(np.concatenate(batches).tolist()) == list(range(8))
    assert all(len(batch) == 1 or len(batch) * sizes[batch].max() <= 100 for batch in batches)
    assert [sizes[batch].tolist() for batch in batches] == [[200], [60], [30, 7, 6], [5, 5, 5]]


def test_equal_texts_are_encoded_once(encoder, monkeypatch):
    seen: list[str] = []
    prepare = encoder._backend.prepare
    monkeypatch.setattr(encoder._backend, "prepare", lambda texts, prefix: seen.extend(texts) or prepare(texts, prefix))
    vectors = encoder.encode(["a", "b", "a", "a"])
    assert seen == ["a", "b"]
    np.testing.assert_array_equal(vectors[0], vectors[2])


def test_empty_list_and_single_string(encoder):
    assert encoder.encode([]).shape == (0, 32)
    assert encoder.encode([], dim=8).shape == (0, 8)
    assert encoder.encode("Enter").shape == (1, 32)
    assert encoder.encode(np.array(["Enter", "page"])).shape == (2, 32)
    assert encoder.dimension == 32


def test_dim_cuts_and_normalises_again(encoder):
    whole = encoder.encode(TEXTS, normalize=False)
    cut = encoder.encode(TEXTS, dim=8)
    np.testing.assert_allclose(cut, whole[:, :8] / np.linalg.norm(whole[:, :8], axis=1, keepdims=True), atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(cut, axis=1), 1, atol=1e-6)
    np.testing.assert_array_equal(encoder.encode(TEXTS, dim=8, normalize=False), whole[:, :8])


def test_prompt_by_name_or_as_it_is(encoder, monkeypatch):
    monkeypatch.setattr(encoder, "prompts", {"query": "query: "})
    expected = encoder.encode("query: Enter")
    np.testing.assert_allclose(encoder.encode("Enter", prompt="query"), expected, atol=1e-6)
    np.testing.assert_allclose(encoder.encode("Enter", prompt="query: "), expected, atol=1e-6)
    assert np.abs(encoder.encode("Enter") - expected).max() > 1e-3


def test_long_texts_are_cut_and_said_once(tiny_model, capsys):
    encoder = Encoder.from_pretrained(tiny_model, device="cpu")
    assert encoder.max_length == 64
    encoder.encode(["short", "page " * 500, "deleted " * 500, "x" * 62])
    warning = capsys.readouterr().err
    assert "2 of 4 texts are longer than 64 tokens" in " ".join(warning.split())
    encoder.encode(["page " * 500])
    assert "longer" not in capsys.readouterr().err


def test_similarity(encoder):
    vectors = encoder.encode(TEXTS[:3])
    np.testing.assert_allclose(encoder.similarity(TEXTS[:3], 3.0 * vectors), vectors @ vectors.T, atol=1e-5)
    assert encoder.similarity("Enter", TEXTS).shape == (1, 7)


@pytest.mark.parametrize("dtype", ["bfloat16", torch.bfloat16])
def test_bfloat16_is_near(tiny_model, encoder, dtype):
    half = Encoder.from_pretrained(tiny_model, device="cpu", dtype=dtype).encode(TEXTS)
    assert half.dtype == np.float32
    assert np.abs(half - encoder.encode(TEXTS)).max() > 0  # it did compute in another precision
    assert (half * encoder.encode(TEXTS)).sum(1).min() > 0.999


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (["a", float("nan")], "text number 1 is nan"),
        (["a", None], "text number 1 is None"),
        ([b"a"], "text number 0"),
        ([["a", "b"]], "text number 0"),
        (3, "not int"),
        (b"abc", "not bytes"),
        ({"a": "b"}, "not dict"),
    ],
)
def test_inputs_that_are_no_text(encoder, texts, message):
    with pytest.raises(UserError, match=message):
        encoder.encode(texts)


def test_settings_out_of_range(encoder, tiny_model):
    for options in ({"dim": 33}, {"dim": 0}, {"batch_size": 0}):
        with pytest.raises(UserError):
            encoder.encode(["a"], **options)
    with pytest.raises(UserError, match="unknown dtype 'int8'"):
        Encoder.from_pretrained(tiny_model, dtype="int8")
    with pytest.raises(UserError, match="unknown device"):
        Encoder.from_pretrained(tiny_model, device="abacus")
    with pytest.raises(UserError, match="the device 'cuda:99' cannot be used"):
        Encoder.from_pretrained(tiny_model, device="cuda:99")


def test_a_model_that_gives_nan_is_an_error(tiny_model, tmp_path):
    shutil.copytree(tiny_model, tmp_path / "model")
    model = MLCModel.from_pretrained(tiny_model)
    torch.nn.init.constant_(model.backbone.encoder.layer[0].output.dense.bias, float("nan"))
    model.save_pretrained(tmp_path / "model")
    with pytest.raises(UserError, match="not finite"):
        Encoder.from_pretrained(tmp_path / "model", device="cpu").encode(["Enter"])


@pytest.mark.parametrize("name", ["./nowhere", "/nowhere/model", "runs/big/model", "tests/nowhere", "~/no/where"])
def test_a_path_that_does_not_exist(name, monkeypatch, repo_root):
    monkeypatch.chdir(repo_root)  # so that tests/ exists, and tests/nowhere was meant as a folder
    with pytest.raises(UserError, match="no such model folder"):
        Encoder.from_pretrained(name)


def test_a_hub_id_that_cannot_be_reached():
    with pytest.raises(UserError, match="neither a folder here nor a model"):
        Encoder.from_pretrained("no-such-owner-here/no-such-model")


def test_folders_that_are_no_encoder(tiny_model, tmp_path):
    with pytest.raises(UserError, match="no config.json"):
        Encoder.from_pretrained(tmp_path)
    file = tmp_path / "file.txt"
    file.write_text("x")
    with pytest.raises(UserError, match="this is a file"):
        Encoder.from_pretrained(file)
    broken = shutil.copytree(tiny_model, tmp_path / "broken")
    (broken / "model.safetensors").unlink()
    with pytest.raises(UserError, match="cannot be loaded"):
        Encoder.from_pretrained(broken)
    (broken / "config.json").write_text("{")
    with pytest.raises(UserError, match="not valid JSON"):
        Encoder.from_pretrained(broken)


def test_a_checkpoint_in_half_precision_is_computed_in_float32(tiny_model, tmp_path):
    """transformers 5 loads weights in the type of their file."""
    folder = shutil.copytree(tiny_model, tmp_path / "model")
    MLCModel.from_pretrained(tiny_model).bfloat16().save_pretrained(folder)
    model = MLCModel.from_pretrained(folder).float()
    model.save_pretrained(tmp_path / "exact")
    shutil.copy(folder / "tokenizer.json", tmp_path / "exact")
    shutil.copy(folder / "tokenizer_config.json", tmp_path / "exact")
    half = Encoder.from_pretrained(folder, device="cpu", dtype="float32").encode(TEXTS)
    exact = Encoder.from_pretrained(tmp_path / "exact", device="cpu", dtype="float32").encode(TEXTS)
    np.testing.assert_array_equal(half, exact)


def test_a_tokenizer_larger_than_the_model(tiny_model, tmp_path):
    from transformers import AutoTokenizer

    folder = shutil.copytree(tiny_model, tmp_path / "model")
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.add_tokens([f"extra{n}" for n in range(5)])
    tokenizer.save_pretrained(folder)
    with pytest.raises(UserError, match="the tokenizer has"):
        Encoder.from_pretrained(folder)


def test_a_bare_hugging_face_encoder_has_mean_pooling(tiny_model, tmp_path):
    from transformers import AutoModel, AutoTokenizer

    backbone = MLCModel.from_pretrained(tiny_model).backbone
    backbone.set_attn_implementation("sdpa")
    backbone.save_pretrained(tmp_path / "bare")
    tokenizer = AutoTokenizer.from_pretrained(tiny_model)
    tokenizer.save_pretrained(tmp_path / "bare")
    batch = tokenizer(TEXTS[:4], padding=True, return_tensors="pt")
    with torch.no_grad():
        hidden = AutoModel.from_pretrained(tmp_path / "bare").eval()(**batch).last_hidden_state
    mask = batch["attention_mask"][..., None]
    expected = ((hidden * mask).sum(1) / mask.sum(1)).numpy()
    ours = Encoder.from_pretrained(tmp_path / "bare", device="cpu").encode(TEXTS[:4], normalize=False)
    np.testing.assert_allclose(ours, expected, atol=1e-5)


REAL_TEXTS = ["The page was deleted.", "", "A cat sits on the mat.", "word " * 600, "Die Seite wurde gelöscht."]


@pytest.fixture(scope="module")
def not_plain(minilm, tmp_path_factory) -> Path:
    """The same model with a module that only the library knows: a pooling by the square root of the length."""
    folder = shutil.copytree(minilm, tmp_path_factory.mktemp("library") / "model")
    settings = json.loads((folder / "1_Pooling" / "config.json").read_text())
    settings |= {"pooling_mode_mean_tokens": False, "pooling_mode_mean_sqrt_len_tokens": True}
    (folder / "1_Pooling" / "config.json").write_text(json.dumps(settings))
    return folder


@pytest.mark.parametrize(("name", "backend"), [("minilm", ModelBackend), ("not_plain", LibraryBackend)])
def test_a_real_sentence_transformers_folder(name, backend, request):
    sentence_transformers = pytest.importorskip("sentence_transformers")
    folder = request.getfixturevalue(name)
    ours = Encoder.from_pretrained(folder, device="cpu", dtype="float32")
    assert isinstance(ours._backend, backend)
    expected = sentence_transformers.SentenceTransformer(str(folder), device="cpu").encode(REAL_TEXTS)
    np.testing.assert_allclose(ours.encode(REAL_TEXTS, normalize=False), expected, atol=1e-4)
    np.testing.assert_allclose(ours.encode(REAL_TEXTS, normalize=False, batch_size=1), expected, atol=1e-4)
    assert ours.dimension == 384
    assert ours.max_length == 256
    np.testing.assert_allclose(
        ours.encode("cat", prompt="about: "), ours.encode("about: cat"), atol=1e-5
    )  # the prefix reaches the model


def test_the_default_precision_keeps_the_vectors_of_a_real_model(minilm):
    """`auto` is bfloat16 where the CPU has it; one text at a time in float32 is the slow twin."""
    exact = Encoder.from_pretrained(minilm, device="cpu", dtype="float32")
    for dtype in ("auto", "bfloat16"):
        vectors = Encoder.from_pretrained(minilm, device="cpu", dtype=dtype).encode(REAL_TEXTS)
        assert min(float(row @ exact.encode(text)[0]) for row, text in zip(vectors, REAL_TEXTS, strict=True)) >= 0.9998


def test_auto_keeps_float32_where_bfloat16_would_spoil_the_vectors(minilm, monkeypatch):
    monkeypatch.setattr(inference, "pays", lambda model: True)
    monkeypatch.setattr(inference, "agreement", lambda model, encoder: 0.9997)
    vectors = Encoder.from_pretrained(minilm, device="cpu").encode(REAL_TEXTS)
    exact = Encoder.from_pretrained(minilm, device="cpu", dtype="float32").encode(REAL_TEXTS)
    np.testing.assert_array_equal(vectors, exact)


def test_a_folder_for_the_library_says_what_to_install(not_plain, monkeypatch):
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *rest: None if name == "sentence_transformers" else find_spec(name)
    )
    with pytest.raises(UserError, match="pip install"):
        Encoder.from_pretrained(not_plain)
