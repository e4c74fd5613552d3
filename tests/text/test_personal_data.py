"""Personal data: found by kind, only with right checksums; masking twice changes nothing."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlcl.text.personal_data import find, mask


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("Write to anna.b+c@mail.example.org.", "Write to <EMAIL>."),
        ("邮箱 zhang@例子.公司 或电话 +86 10 6552 9988", "邮箱 <EMAIL> 或电话 <PHONE>"),
        ("Konto DE89 3704 0044 0532 0130 00, danke", "Konto <IBAN>, danke"),
        ("GB82WEST12345698765432", "<IBAN>"),
        ("card 4111 1111 1111 1111 expired", "card <CARD> expired"),
        ("from 192.168.10.7 and 2001:db8::ff00:42:8329", "from <IP> and <IP>"),
        ("Tel. 030 1234567 oder 0049 30 1234567", "Tel. <PHONE> oder <PHONE>"),
        ("call (212) 555-0123 now", "call <PHONE> now"),
    ],
)
def test_found(text, masked):
    assert mask(text) == masked
    assert [f"<{piece.kind.upper()}>" in masked for piece in find(text)] == [True] * len(find(text))


@pytest.mark.parametrize(
    "text",
    [
        "DE88 3704 0044 0532 0130 00",  # wrong check digits
        "4111 1111 1111 1112",
        "0000 0000 0000 0000",
        "version 1.2.3 of 2019-08-24, 12:30:45",
        "999.1.1.1 is no address, nor is 127.0.0.1 a person's",
        "In 2019 there were 1 234 567 890 of them",
        "user@host has no domain",
        "12345678901234567890",
        "",
    ],
)
def test_not_found(text):
    assert find(text) == []
    assert mask(text) == text


@given(st.text(st.sampled_from("0123456789+@.: -abDE"), max_size=60))
def test_masking_is_idempotent_and_spans_are_apart(text):
    pieces = find(text)
    assert all(a.end <= b.start for a, b in zip(pieces, pieces[1:], strict=False))
    assert mask(mask(text)) == mask(text)
