"""The teacher's vectors of a corpus: of which sentence, once, resumed to the same, under a name that says for what."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

from mlcl.core.errors import UserError
from mlcl.corpus.store import Corpus, CorpusWriter
from mlcl.training import teacher
from mlcl.training.teacher import columns, fingerprint, open_or_compute

PAIRS = [  # group, source language, source, target language, target
    (7, "en", "seven", "de", "sieben"),
    (7, "en", "seven", "ja", "七"),
    (3, "de", "drei", "ja", "三"),
    (9, "de", "neun", "en", "nine"),
    (9, "de", "neun", "fr", "neuf"),
    (5, "fr", "cinq", "ja", "五"),
    (7, "en", "another seven", "de", "auch sieben"),
]


def write(folder, pairs=PAIRS):
    writer, place = CorpusWriter(folder), {"document": "", "origin": "made-up"}
    writer.write_pairs(
        [
            {"source_lang": a, "source": x, "target_lang": b, "target": y, "group": group, **place}
            for group, a, x, b, y in pairs
        ]
    )
    writer.write_mono([{"lang": "it", "text": "da solo", "group": -1, **place}])
    writer.close()
    return Corpus.open(folder)


@pytest.fixture
def corpus(tmp_path):
    return write(tmp_path / "corpus")


def vector(text):
    return np.random.default_rng(list(text.encode())).normal(size=5)


class Embed:
    """Vectors that tell the texts; counts calls, and breaks at one of them."""

    def __init__(self, breaks_at=None):
        self.texts, self.calls, self.breaks_at = [], 0, breaks_at

    def __call__(self, texts):
        self.calls += 1
        if self.calls == self.breaks_at:
            raise KeyboardInterrupt
        self.texts += texts
        return np.stack([vector(text) for text in texts])


@pytest.mark.parametrize(
    ("languages", "expected"),
    [
        (["en"], {7: "seven", 9: "nine"}),
        (["en", "de"], {7: "seven", 9: "nine", 3: "drei"}),
        (["de", "fr", "en"], {7: "sieben", 9: "neun", 3: "drei", 5: "cinq"}),
    ],
)
def test_one_sentence_of_each_group(corpus, tmp_path, languages, expected):
    embed = Embed()
    found = open_or_compute(corpus, "teacher", embed, languages, tmp_path)
    assert sorted(embed.texts) == sorted(expected.values())
    vectors, known = found.of(np.array([3, 5, 7, 8, 9, 7, -1, 99]))
    assert vectors.dtype == np.float32
    for row, is_known, group in zip(vectors, known, (3, 5, 7, 8, 9, 7, -1, 99), strict=True):
        assert is_known == (group in expected)
        np.testing.assert_allclose(row, vector(expected[group]) if is_known else 0, rtol=2e-3, atol=1e-4)
    assert found.dimension == 5


def test_columns_of_a_batch(corpus, tmp_path):
    found = open_or_compute(corpus, "teacher", Embed(), ["en"], tmp_path)
    made = columns(found, np.array([7, 7, 3, 9]))
    anchors, positives = np.array([1, 2, 3, -1]), np.array([0, 2, 3, -1])
    assert made["teacher_known"](anchors, positives).tolist() == [True, False, True, False]
    np.testing.assert_array_equal(made["teacher"](anchors, positives), found.of(np.array([7, 3, 9, -1]))[0])
    nothing = np.empty(0, dtype=np.int64)
    assert made["teacher"](nothing, nothing).shape == (0, 5)


def test_they_are_computed_once(corpus, tmp_path):
    first = open_or_compute(corpus, "teacher", Embed(), ["en"], tmp_path)
    again = Embed()
    second = open_or_compute(corpus, "teacher", again, ["en"], tmp_path)
    assert again.calls == 0
    np.testing.assert_array_equal(first.vectors, second.vectors)


def test_a_stopped_computation_goes_on(tmp_path, monkeypatch):
    monkeypatch.setattr(teacher, "_BLOCK", 4)
    pairs = [(number, "en", f"text {number}", "de", f"Text {number}") for number in range(30)]
    whole = open_or_compute(write(tmp_path / "a", pairs), "teacher", Embed(), ["en"], tmp_path)
    corpus, broken = write(tmp_path / "b", pairs), Embed(breaks_at=4)
    with pytest.raises(KeyboardInterrupt):
        open_or_compute(corpus, "teacher", broken, ["en"], tmp_path)
    (place,) = (tmp_path / "b" / "teacher").iterdir()
    with (place / "vectors.f16").open("ab") as file:
        file.write(b"half a row")
    rest = Embed()
    resumed = open_or_compute(corpus, "teacher", rest, ["en"], tmp_path)
    assert broken.texts + rest.texts == [f"text {number}" for number in range(30)]
    assert len(broken.texts) == 12
    np.testing.assert_array_equal(resumed.vectors, whole.vectors)
    np.testing.assert_array_equal(resumed.groups, whole.groups)


def test_the_name(corpus, tmp_path):
    folder = tmp_path / "teacher"
    folder.mkdir()
    (folder / "weights").write_bytes(b"1")
    names = [fingerprint(corpus, str(folder), ["en"])]
    names.append(fingerprint(corpus, str(folder), ["en", "de"]))
    names.append(fingerprint(corpus, str(folder), ["en"], "query: "))
    names.append(fingerprint(corpus, "owner/teacher", ["en"]))
    names.append(fingerprint(write(tmp_path / "other", PAIRS[1:]), str(folder), ["en"]))
    shutil.copytree(folder, tmp_path / "moved")
    assert fingerprint(corpus, str(tmp_path / "moved"), ["en"]) == names[0]
    (folder / "weights").write_bytes(b"2")
    names.append(fingerprint(corpus, str(folder), ["en"]))
    assert len(set(names)) == len(names)


def test_mistakes(corpus, tmp_path):
    with pytest.raises(UserError, match="the corpus has no sentence in es"):
        open_or_compute(corpus, "teacher", Embed(), ["es"], tmp_path)
    with pytest.raises(UserError, match="no translation in the corpus has a side in it"):
        open_or_compute(corpus, "teacher", Embed(), ["it"], tmp_path)
    for bad in (np.nan, 1e6):
        with pytest.raises(UserError, match="not finite, or too large"):
            open_or_compute(corpus, "teacher", lambda texts, bad=bad: np.full((len(texts), 3), bad), ["en"], tmp_path)
