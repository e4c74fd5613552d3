from __future__ import annotations

import pytest

from mlcl.text.placeholders import mask_placeholders


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("Deleted %(count)d items.", "Deleted … items."),
        ("%s of %5.2f", "… of …"),
        ("50% discount, 100%", "50% discount, 100%"),
        ("{} and {0!r:>10} and {user.name}", "… and … and …"),
        ("{{ site }}{% trans 'x' %}", "…"),
        ('See <a href="/x?a=1">here</a>&nbsp;now', "See …here…now"),
        ("1 < 2 and 3 > 2", "1 < 2 and 3 > 2"),
        ("Mail me@example.org or visit https://example.org/a?b=1", "Mail … or visit …"),
        ("%(a)s %(b)s", "…"),
        ("  two\n lines ", "two lines"),
        ("日本語%(name)sです", "日本語…です"),
        ("", ""),
    ],
)
def test_masking(text, masked):
    assert mask_placeholders(text) == masked
    assert mask_placeholders(masked) == masked
