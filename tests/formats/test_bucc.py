from __future__ import annotations

import pytest

import layouts
from mlcl.core.errors import UserError
from mlcl.core.files import RowCounter
from mlcl.formats import bucc, read


def test_gold_pairs_come_together_and_every_other_sentence_alone(tmp_path):
    layouts.bucc(tmp_path, ("de",), n=5, planted=2)
    rows = RowCounter()
    found = list(read("bucc", tmp_path / "bucc2018", rows))
    pairs = [record.texts for record in found if len(record.texts) == 2]
    assert pairs == [[("en", layouts.sentence("en", i)), ("de", layouts.sentence("de", i))] for i in range(2)]
    alone = [record.texts[0] for record in found if len(record.texts) == 1]
    assert [layouts.meaning(text) for tag, text in alone if tag == "de"] == [2, 3, 4]
    assert [layouts.meaning(text) for tag, text in alone if tag == "en"] == [7, 6, 5]
    assert (rows.good_rows, rows.bad) == (10, {})


def test_the_test_part_may_lack_gold_pairs_but_no_other_part(tmp_path):
    layouts.bucc(tmp_path, ("de",))
    folder = tmp_path / "bucc2018" / "de-en"
    for side in ("de", "en"):
        (folder / f"de-en.sample.{side}.gz").rename(folder / f"de-en.test.{side}.gz")
    (pair,) = bucc.load(tmp_path / "bucc2018", part="test")
    assert (len(pair.texts), pair.gold) == (60, [])
    with pytest.raises(UserError, match=r"de-en\.sample\.de: no such file"):
        bucc.load(tmp_path / "bucc2018")


def test_bad_lines_and_unknown_ids_name_their_place(tmp_path):
    layouts.bucc(tmp_path, ("de",), n=60)
    folder = tmp_path / "bucc2018"
    layouts.write(folder / "de-en" / "de-en.sample.gold.gz", ["de-1\ten-1", "de-2\ten-999"])
    with pytest.raises(UserError, match=r"gold\.gz:2: 'en-999' is not the id of a sentence"):
        bucc.load(folder)
    layouts.write(folder / "de-en" / "de-en.sample.de.gz", ["de-1\tone", "de-2 two"])
    with pytest.raises(UserError, match=r"sample\.de\.gz:2: not two fields"):
        bucc.load(folder)
    rows = RowCounter()
    with pytest.raises(UserError, match="'de-2' is not the id"):
        bucc.load(folder, rows)
    assert (rows.good_rows, sum(rows.bad.values())) == (61, 1)


@pytest.mark.real_data
def test_the_published_sample(data_root):
    (pair,) = bucc.load(data_root / "bucc2018")
    assert (pair.code, pair.tag) == ("zh", "zh-Hans")
    assert (len(pair.texts), len(pair.english), len(pair.gold)) == (8624, 13589, 257)
