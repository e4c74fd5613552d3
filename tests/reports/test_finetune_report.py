"""The report of a fine-tuning run: means and spread over seeds, floor, gap, and nothing unescaped."""

from __future__ import annotations

from dataclasses import replace

from mlcl.reports.finetune_report import Transfer, html_page, markdown


def row(language, code, value, seed=0, metric="accuracy", **more):
    place = {"task": "topics", "split": "test", "language": language, "code": code, "direction": "full", "n": 50}
    return {**place, "metric": metric, "value": value, "low": value - 2, "high": value + 2, "seed": seed, **more}


def transfer(seeds=1):
    rows = []
    for seed in range(seeds):
        rows += [row("en", "eng", 80.0 + seed, seed), row("de", "deu", 60.0, seed)]
        rows += [row("en", "eng", 75.0, seed, "macro_f1"), row("de", "deu", 55.0, seed, "macro_f1")]
        rows += [row("avg:all", "", 70.0 + seed / 2, seed), row("avg:transfer", "", 60.0, seed)]
        rows += [row("avg:all", "", 65.0, seed, "macro_f1"), row("avg:transfer", "", 55.0, seed, "macro_f1")]
        rows += [row("avg:transfer", "", 20.0 + seed, seed, "transfer_gap_accuracy", low=None, high=None)]
    run = {
        "examples": 701, "updates": 600, "epochs": 28.0, "dev": 81.5, "trained": 11_000_000, "minutes": 1.25,
        "cpu_minutes": 2.5, "peak_memory_bytes": 2**30,
    }  # fmt: skip
    codes = {"en": "eng", "de": "deu"}
    floor = [row(tag, code, 14.0, None, "majority_accuracy", direction="floor") for tag, code in codes.items()]
    settings = {"tuning": {"method": "full"}, "seeds": seeds}
    return Transfer(
        "topics", "accuracy", "<b>enc</b>", "full", "en", ["en"], rows, floor,
        [{**run, "seed": seed} for seed in range(seeds)], ["Chosen on dev."], settings,
    )  # fmt: skip


def test_one_seed_has_intervals():
    text = markdown(transfer())
    assert "| code | language | n | accuracy (%) | macro F1 (%) | majority label | gap |" in text
    assert "| eng | English (trained) | 50 | 80.0 [78.0, 82.0] | 75.0 [73.0, 77.0] | 14.0 | 0.0 |" in text
    assert "| deu | German | 50 | 60.0 [58.0, 62.0] | 55.0 [53.0, 57.0] | 14.0 | 20.0 |" in text
    assert "|  | languages not trained on | 50 | 60.0 [58.0, 62.0] | 55.0 [53.0, 57.0] |  | 20.0 |" in text
    assert "| 0 | 701 | 600 | 28 | 81.5 | 11.00 | 1.2 | 2.5 | 1,024 |" in text
    assert "Intervals are 95 %" in text
    assert "Chosen on dev." in text


def test_several_seeds_have_mean_and_standard_deviation():
    text = markdown(transfer(3))
    assert "| 81.0 ± 1.0 | 75.0 ± 0.0 | 14.0 | 0.0 |" in text
    assert "means over 3 seeds" in text
    assert "Intervals are" not in text


def test_the_page_stands_alone_and_escapes_names():
    page = html_page(transfer())
    assert "&lt;b&gt;enc" in page
    assert "<b>enc" not in page
    assert page.count("data:image/svg+xml") == 1
    assert "method: full" in page


def test_every_split_has_its_bars():
    rows = [{**one, "split": "test (joint dev)"} for one in transfer().rows]
    assert html_page(replace(transfer(), rows=rows)).count("data:image/svg+xml") == 1


def test_the_weights_of_a_small_head_are_no_zero():
    runs = [{**transfer().runs[0], "trained": 514}]
    assert "| 0.00051 |" in markdown(replace(transfer(), runs=runs))


def test_zero_shot_has_neither_gap_nor_training_language():
    rows = [one for one in transfer().rows if not one["metric"].startswith("transfer_gap")]
    text = markdown(replace(transfer(), train_language=None, trained=[], rows=rows, floor=[]))
    assert "no labels" in text
    assert "| gap |" not in text
    assert "majority" not in text
