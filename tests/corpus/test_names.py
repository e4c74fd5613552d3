"""Names that two translations share."""

from __future__ import annotations

import pytest

from mlcl.corpus.clean import CleanSettings, filter_versions, versions
from mlcl.corpus.names import shared_names

ENGLISH = "Yesterday the mayor of London met Angela Merkel there."


@pytest.mark.parametrize(
    ("lang", "text", "expected"),
    [
        ("cs", "Včera se starosta Londýna setkal s Angelou Merkelovou.", 1.0),  # inflected, another sentence start
        ("fr", "Hier, le maire de Londres a rencontré Angela Merkel.", 1.0),
        ("de", "Gestern traf der Bürgermeister von London dort Angela Merkel.", 1.0),
        ("fr", "Hier, le prix du blé a baissé à Chicago et à Paris.", 0.0),
        ("ru", "Вчера мэр Лондона встретился с Ангелой Меркель.", None),  # another script
        ("zh-Hans", "微软昨天发布了 Windows 和 Office 的新版本。", 0.0),
        ("zh-Hans", "昨天，London 的市长见了 Angela Merkel。", 1.0),
    ],
)
def test_names_are_found_by_their_spelling(lang, text, expected):
    assert shared_names(ENGLISH, "en", text, lang) == expected
    assert shared_names(text, lang, ENGLISH, "en") == expected


def test_too_few_names_do_not_tell():
    assert shared_names("We saw Merkel there.", "en", "Nous avons vu quelqu'un là-bas.", "fr") is None
    assert shared_names("Der Mann ging zur Bank.", "de", "Der Hund lag im Garten.", "de") is None


def test_the_filter_sleeps_until_it_is_asked():
    texts = [("en", ENGLISH), ("fr", "Hier, le prix du blé a baissé à Chicago et à Paris.")]
    for least, reasons in ((0.0, []), (0.2, ["names differ", "no translation left"])):
        settings = CleanSettings(min_shared_names=least)
        assert [drop.reason for drop in filter_versions(versions(texts, settings), settings)[1]] == reasons
