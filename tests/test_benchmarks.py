"""The benchmarks at toy size: everything runs, the files have their fields, peers agree in value. No time is judged."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import numpy as np
import pytest

TOY = '''
"""A comparison for the test of the harness."""
import os, time
from harness import Case, Job
TITLE = "Toy"
def cases(quick):
    return [Case("case", {"megabytes": 64}, ("ours", "slower", "broken", "gone", "gone later"), "things")]
def work(settings):
    return {"gemms": [[64, 64, 64, "float32", 3]], "bytes": 1000}
def job(peer, settings):
    if peer == "broken":
        raise ValueError("no such thing\\nsecond line")
    runs = []
    def run():
        runs.append(peer)
        if peer == "gone" or (peer == "gone later" and len(runs) > 1):
            os._exit(3)
        held = bytearray(settings["megabytes"] << 20)
        held[::4096] = b"x" * len(held[::4096])
        print("what a library prints must not get between the answers")
        return 0.25 if peer == "ours" else 0.5
    return Job(run=run, units=10, check=lambda: {"loss": 1.5})
'''


@pytest.fixture
def benchmarks(repo_root, monkeypatch):
    """The benchmark modules, importable as scripts import one another."""
    monkeypatch.syspath_prepend(str(repo_root / "benchmarks"))
    return repo_root / "benchmarks"


@pytest.fixture
def command(repo_root, tmp_path):
    """Run a benchmark script; the results document."""

    def run(script: str, *words: str) -> dict:
        path = os.pathsep.join([str(repo_root / "src"), os.environ.get("PYTHONPATH", "")])
        line = [sys.executable, str(repo_root / "benchmarks" / script), "--quick", "--out", str(tmp_path), *words]
        subprocess.run(line, check=True, env={**os.environ, "PYTHONPATH": path}, capture_output=True, timeout=600)
        assert (tmp_path / "results.md").read_text().startswith("# Benchmark results")
        return json.loads((tmp_path / "results.json").read_text())

    return run


def test_harness_times_peers_and_survives_those_that_fail(benchmarks, tmp_path, monkeypatch):
    from harness import run_comparison
    from report import markdown

    (tmp_path / "toy_comparison.py").write_text(TOY)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.syspath_prepend(str(tmp_path))
    said: list[str] = []
    (result,) = run_comparison("toy_comparison", tmp_path, rounds=3, warm_ups=1, log=said.append)
    ours, slower = result["peers"]["ours"], result["peers"]["slower"]
    assert ours["seconds"] == [0.25] * 3
    assert ours["check"] == {"loss": 1.5}
    assert ours["per_second"] == 40
    assert 60e6 < ours["extra_memory_bytes"] < 140e6
    assert result["ratios"] == {"slower": {"median": 2.0, "low": 2.0, "high": 2.0}}
    assert slower["share_of_floor"] == result["floor"]["seconds"] / 0.5
    assert result["floor"]["rates"]["memory GB/s"] > 0
    assert result["peers"]["broken"]["error"] == "ValueError: no such thing"
    assert "status 3" in result["peers"]["gone"]["error"]
    assert "status 3" in result["peers"]["gone later"]["error"]
    assert sum("gone later: the process ended" in line for line in said) == 1
    machine = {"cpu": "abacus", "cores": 1, "flags": [], "threads": "1", "load_before": 0, "versions": {"torch": "0"}}
    table = markdown(machine, [result], "command", tmp_path)
    assert "| slower | 0.5 | 0.5-0.5 | 20 | **2.00** (2.00-2.00) |" in table
    assert "| broken | failed: ValueError: no such thing |" in table
    assert "| loss | 1.5 | 1.5 |" in table


def test_workload_has_the_mean_and_its_texts_are_its_tokens(benchmarks):
    from workload import sentence_lengths, text_of, token_ids, word_tokenizer

    lengths = sentence_lengths(20_000, mean=23.0, longest=96)
    assert lengths.mean() == pytest.approx(23.0, rel=0.03)
    assert (lengths.min(), lengths.max()) == (3, 96)
    ids = token_ids(lengths[:200], vocabulary=500)
    assert [len(row) for row in ids] == lengths[:200].tolist()
    read = word_tokenizer(500, 96)([text_of(row) for row in ids])["input_ids"]
    for row, back in zip(ids, read, strict=True):
        np.testing.assert_array_equal(row, back)
    counts = np.bincount(np.concatenate([row[1:-1] for row in ids]), minlength=500)
    assert counts[5] > counts[50] > counts[450]


def test_encoder_work_counts_the_products(benchmarks):
    from floor import encoder_work

    lengths, hidden = np.array([3, 5]), 16
    flop = {}
    for training in (False, True):
        gemms = encoder_work(lengths, layers=2, hidden=hidden, training=training)["gemms"]
        flop[training] = sum(2 * m * n * k * count for m, n, k, _, count in gemms)
    linear = 2 * 12 * hidden**2 * 8
    attention = 2 * 2 * hidden * (9 + 25)
    assert flop[False] == pytest.approx(2 * (linear + attention), rel=0.01)
    assert flop[True] == 3 * flop[False]


@pytest.mark.parametrize(("name", "exact", "half"), [("info_nce", 1e-4, 0.5), ("lm_head", 1e-5, 0.02)])
def test_objectives_agree_with_float64(benchmarks, name, exact, half):
    from importlib import import_module

    module = import_module(name)
    (case,) = module.cases(quick=True)
    assert module.work(case.settings)["gemms"]
    for peer in ("mlcl bf16", "mlcl fp32"):
        job = module.job(peer, case.settings)
        errors = {key: value for key, value in job.check().items() if key.startswith("gradient error")}
        assert len(errors) >= 3
        assert max(errors.values()) < (half if "bf16" in peer else exact)
        job.run()


def test_encoders_agree(benchmarks, tmp_path, monkeypatch):
    pytest.importorskip("sentence_transformers")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    import encode

    (case,) = encode.cases(quick=True)
    peers = ["mlcl", "mlcl fp32", "st defaults", "st bf16"]
    least = {peer: encode.job(peer, case.settings).check()["least cosine"] for peer in peers}
    assert min(least["mlcl"], least["mlcl fp32"], least["st defaults"]) >= 0.9998


def test_miners_find_the_same_pairs(benchmarks):
    pytest.importorskip("faiss")
    import mining

    (case,) = mining.cases(quick=True)
    exact, cells, laser = (mining.job(peer, case.settings).check() for peer in case.peers)
    assert exact["best F1"] > 75
    assert laser == pytest.approx(exact)
    assert cells["best F1"] == pytest.approx(exact["best F1"], abs=5)


def test_a_large_mining_run_says_what_it_took(benchmarks, tmp_path, monkeypatch, capsys):
    pytest.importorskip("faiss")
    import mining_large

    words = ["--sentences", "400", "--dimension", "32", "--index", "exact"]
    monkeypatch.setattr("sys.argv", ["mining_large.py", "--out", str(tmp_path), *words])
    mining_large.main()
    result = json.loads((tmp_path / "results.json").read_text())
    assert result["peak memory bytes"] > 50e6
    assert result["CPU seconds"] > 0
    assert "400 and 400 sentences" in capsys.readouterr().out


def test_cpu_command(command):
    document = command("cpu.py", "--only", "floor,lm_head")
    rates, result = document["results"]
    assert document["machine"]["versions"]["torch"]
    assert any(key.endswith("TFLOP/s") for key in rates["peers"]["rates"]["check"])
    assert set(result) >= {"comparison", "case", "settings", "unit", "rounds", "ours", "peers", "ratios", "floor"}
    for peer in result["peers"].values():
        assert set(peer) >= {"seconds", "median", "low", "high", "per_second", "extra_memory_bytes", "share_of_floor"}
        assert len(peer["seconds"]) == 2


@pytest.mark.slow
def test_training_steps_start_from_the_same_loss(command):
    pytest.importorskip("sentence_transformers")
    pytest.importorskip("datasets")
    document = command("cpu.py", "--only", "training_step,grad_cache,data_path")
    step, cache, data = document["results"]
    losses = [peer["check"]["loss"] for peer in step["peers"].values()]
    assert len(losses) == 3
    assert max(losses) - min(losses) < 1e-4
    cached, plain = cache["peers"]["cached"], cache["peers"]["plain"]
    assert cached["check"] == pytest.approx(plain["check"], rel=1e-3)
    assert data["peers"]["token store"]["check"]["waiting for data, 0 workers"] < 1


def test_gpu_command_needs_no_training_code(benchmarks, tmp_path):
    absent = ["sentence_transformers", "datasets", "pyarrow", "rich", "jsonargparse", "langcodes", "matplotlib"]
    program = (
        f"import sys; sys.modules.update(dict.fromkeys({absent!r})); import gpu; "
        f"status = gpu.main(['--quick', '--device', 'cpu', '--out', {str(tmp_path)!r}]); "
        "ours = {name for name in sys.modules if name.startswith('mlcl.training')}; "
        "print(ours); sys.exit(status or bool(ours))"
    )
    path = os.pathsep.join([str(benchmarks), str(benchmarks.parent / "src")])
    subprocess.run([sys.executable, "-c", program], check=True, env={**os.environ, "PYTHONPATH": path}, timeout=600)
    document = json.loads((tmp_path / "results.json").read_text())
    by_title = {result["title"]: result["peers"] for result in document["results"]}
    assert len(by_title) == 6
    for peers in by_title.values():
        losses = [peer["check"]["loss"] for peer in peers.values() if "loss" in peer["check"]]
        assert not losses or max(losses) - min(losses) < 0.05  # bf16 against fp32


def test_transfer_fills_a_table_once(repo_root, benchmarks, tiny_model, tmp_path, monkeypatch, capsys):
    folder = tmp_path / "data" / "sib200" / "data" / "annotated"
    texts = {"health": "The page was deleted", "sports": "Enter your password", "travel": "Die Seite wurde"}
    for code in ("eng_Latn", "deu_Latn"):
        for split in ("train", "dev", "test"):
            (folder / code).mkdir(parents=True, exist_ok=True)
            lines = [f"{n}\t{topic}\t{texts[topic]} {split} {n}" for n, topic in enumerate([*texts] * 3)]
            (folder / code / f"{split}.tsv").write_text("index_id\tcategory\ttext\n" + "\n".join(lines) + "\n")
    monkeypatch.setenv("PYTHONPATH", str(repo_root / "src"))
    import transfer

    line = ["transfer.py", "--model", f"tiny={tiny_model}", "--data", str(tmp_path / "data"), "--out"]
    line += [str(tmp_path / "out"), "--tasks", "sib200", "--methods", "frozen", "--", "--training.epochs", "1"]
    for _ in range(2):
        monkeypatch.setattr("sys.argv", line)
        assert transfer.main() == 0
    out = capsys.readouterr().out
    assert out.count("== sib200-tiny-frozen") == 1
    head, rule, row = (tmp_path / "out" / "transfer.md").read_text().split("\n")[2:5]
    assert head.count("|") == rule.count("|") == row.count("|")
    assert row.startswith("| tiny | frozen | ")
    assert "other languages (1)" in head


def test_an_untrained_encoder_has_the_shape_and_other_weights(benchmarks, tiny_model, tmp_path, monkeypatch):
    import untrained

    from mlcl.model.encoder import Encoder

    monkeypatch.setattr(
        "sys.argv", ["untrained.py", "--like", str(tiny_model), "--out", str(tmp_path / "m"), "--seed", "7"]
    )
    untrained.main()
    like, fresh = (Encoder.from_pretrained(path, "cpu") for path in (tiny_model, tmp_path / "m"))
    vectors = like.encode(["Enter your password"]), fresh.encode(["Enter your password"])
    assert vectors[0].shape == vectors[1].shape
    assert not np.allclose(*vectors, atol=1e-3)


def test_true_beads_of_damaged_documents(benchmarks):
    import alignment

    assert alignment.truth([[0], [1, 2], [4]], [[0], [1], [2], [3], [4]]) == {
        ((0, 1), (0, 1)), ((1, 2), (1, 3)), ((2, 3), (4, 5)),
    }  # fmt: skip
    assert alignment.truth([[0, 1], [2]], [[0], [1, 2]]) == {((0, 2), (0, 2))}
    assert alignment.truth([[0]], [[1]]) == set()
    gold = [{((0, 1), (0, 1)), ((1, 2), (1, 3))}]
    assert alignment.scores(gold, gold)["exact F1"] == pytest.approx(100)
    half = alignment.scores([{((0, 1), (0, 1)), ((1, 2), (1, 2))}], gold)
    assert half["exact precision"] == half["exact recall"] == 50
    assert half["lax F1"] == pytest.approx(100)


def test_damage_keeps_the_order_and_forgets_no_text(benchmarks):
    import random

    import alignment

    sentences = [f"s{n}" for n in range(200)]
    texts, holds = alignment.damaged(sentences, random.Random(1))
    assert texts == [" ".join(f"s{n}" for n in held) for held in holds]
    kept = [n for held in holds for n in held]
    assert kept == sorted(kept)
    assert 170 < len(kept) < 200
    assert any(len(held) > 1 for held in holds)


def test_a_decoder_is_measured_as_language_model_and_as_encoder(benchmarks, tiny_corpus, tmp_path):
    """At toy size: each arm starts from the same language model, and the causal term is what keeps it."""
    import decoder

    rows = decoder.main(
        [
            "--corpus", str(tiny_corpus), "--out", str(tmp_path / "out"), "--max-steps", "40", "--pairs", "16",
            "--hidden-size", "32", "--layers", "1", "--vocab-size", "700", "--dev-groups", "20",
        ]
    )  # fmt: skip
    _, alone, joint, blanks = rows
    assert [row.steps for row in rows] == [40] * 4
    assert joint.perplexity < alone.perplexity
    assert blanks.perplexity < alone.perplexity
    assert all(0 < row.accuracy <= 1 and row.perplexity > 1 for row in rows)
    assert (tmp_path / "out" / "decoder.json").is_file()


def test_the_table_of_terms_has_a_row_for_each_arm(benchmarks, tmp_path):
    from argparse import Namespace

    import terms

    for arm in ("base", "koleo"):
        (tmp_path / arm / "model").mkdir(parents=True)
        (tmp_path / arm / "model" / "mlcl.json").write_text(json.dumps({"minutes": 1.5}))
    rows = [
        {"model": arm, "task": task, "split": "dev", "metric": metric, "direction": direction, "value": mean + off}
        for arm, mean in (("base", 60.0), ("koleo", 70.0))
        for task, metric, direction in (("ntrex", "accuracy", "mean"), ("stsb", "spearman", "within"))
        for off in (0.0, 5.0)
    ]
    rows.append({**rows[0], "direction": "into en", "value": 0.0})
    table = terms.markdown(["base", "koleo"], rows, Namespace(steps=10, seed=1, out=tmp_path))
    assert table.split("\n")[2:] == [
        "| arm | ntrex dev | stsb dev | minutes |",
        "|---|---|---|---|",
        "| base | 62.5 | 62.5 | 1.5 |",
        "| koleo | 72.5 | 72.5 | 1.5 |",
        "",
    ]


def test_what_is_planted_in_training_text_is_what_it_says(benchmarks):
    import contamination

    held_out = {
        "en": [f"this is sentence number {n} of them" for n in range(120)],
        "de": [f"Satz {n}" for n in range(120)],
    }
    rest = {"en": ["other words stand here alone"] * 5, "de": ["Anderes", "", "Drittes"]}
    texts, kinds = contamination.planted(held_out, rest, seed=0)
    assert texts[:7] == [*rest["en"], "Anderes", "Drittes"]
    assert (kinds[:7] == -1).all()
    by_kind = {
        kind: [text for text, one in zip(texts, kinds.tolist(), strict=True) if one == kind] for kind in range(4)
    }
    assert set(by_kind[0]) <= set(held_out["en"])
    assert {len(text.split()) for text in by_kind[1]} == {6}
    assert not set(by_kind[2]) & set(held_out["en"])
    assert set(by_kind[3]) <= set(held_out["de"])
    assert all(len(texts_) > 5 for texts_ in by_kind.values())


def test_speed_of_corpus_steps(benchmarks, tmp_path, monkeypatch, capsys):
    pytest.importorskip("rensa")
    import corpus_speed

    (tmp_path / "mono").mkdir()
    (tmp_path / "mono/mono.en.txt").write_text("".join(f"a line of words with the number {n}\n" for n in range(40)))
    words = ["corpus_speed.py", "--data", str(tmp_path), "--out", str(tmp_path / "out"), "--megabytes", "0.003"]
    monkeypatch.setattr(sys, "argv", [*words, "--rounds", "1"])
    monkeypatch.setattr(corpus_speed, "peers", lambda: {"MinHash": {"gone": lambda lines: 1 / 0}})
    corpus_speed.main()
    assert "gone, MinHash: left out (ZeroDivisionError" in capsys.readouterr().out
    table = (tmp_path / "out/corpus_speed.md").read_text()
    assert all(f"| {step} |" in table for step in ("clean text", "MinHash", "near evaluation texts (10,000)"))
    lines = corpus_speed.load(tmp_path, 0.003)
    assert sum(len(text.encode()) for _, text in lines) >= 3000
    assert len({text for _, text in lines}) > 40  # repeated ones have a word changed


@pytest.mark.slow
def test_distillation_compares_starts_once(
    repo_root, benchmarks, tiny_model, tiny_corpus, tiny_settings, tmp_path, monkeypatch, capfd
):
    pytest.importorskip("sentence_transformers")
    pytest.importorskip("datasets")
    import yaml

    import layouts
    from mlcl.corpus.store import Corpus
    from mlcl.text.tokenizer import train_tokenizer

    layouts.stsb(tmp_path / "data")
    train_tokenizer(Corpus.open(tiny_corpus), vocab_size=620).save_pretrained(tmp_path / "tokenizer")
    settings = {key: tiny_settings[key] for key in ("model", "sampling", "training")}
    settings["model"]["backbone"]["hidden_size"] = 16  # another dimension than the teacher's
    settings["training"] |= {"queue_size": 0, "lm_weight": 0.0, "eval_strategy": "no", "save_strategy": "no"}
    settings["training"] = {key: value for key, value in settings["training"].items() if key != "max_steps"}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(settings), encoding="utf-8")
    monkeypatch.setenv("PYTHONPATH", str(repo_root / "src"))
    import distillation

    line = ["distillation.py", "--corpus", str(tiny_corpus), "--tokenizer", str(tmp_path / "tokenizer"), "--teacher"]
    line += [str(tiny_model), "--data", str(tmp_path / "data"), "--out", str(tmp_path / "out"), "--config"]
    line += [str(tmp_path / "config.yaml"), "--minutes", "0.01", "--tasks", "stsb"]
    line += ["--arms", "student,shallow,peer,peer-start"]
    for _ in range(2):
        monkeypatch.setattr("sys.argv", line)
        distillation.main()
    assert capfd.readouterr().out.count("== peer-start-1") == 1
    table = (tmp_path / "out" / "distillation.md").read_text(encoding="utf-8").split("\n")
    rows = {cells[1].strip(): cells for cells in (row.split("|") for row in table[4:] if row)}
    assert set(rows) == {"student-1", "shallow-1", "peer-1", "peer-start-1", "teacher"}
    assert all(cell.strip() not in ("", "-") for cells in rows.values() for cell in cells[4:-1])
    assert json.loads((tmp_path / "out" / "teacher.json").read_text())["sentences"] == 300
    from mlcl.model.encoder import Encoder

    sizes = {
        arm: Encoder.from_pretrained(tmp_path / "out" / arm / "model", "cpu").dimension
        for arm in rows
        if arm[-1] == "1"
    }
    assert set(sizes.values()) == {32}
