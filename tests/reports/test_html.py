from __future__ import annotations

from html.parser import HTMLParser

import numpy as np
from matplotlib.figure import Figure

from mlcl.reports import html


class Balance(HTMLParser):
    """Checks that tags close in order, and collects the visible text."""

    def __init__(self):
        super().__init__()
        self.open, self.text, self.tags = [], [], []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in ("meta", "img", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


def parse(text: str) -> Balance:
    parser = Balance()
    parser.feed(text)
    parser.close()
    assert not parser.open
    return parser


def test_a_page_is_whole_and_nothing_in_it_is_markup_by_accident():
    evil = "<script>alert(\"x\")</script> & 'quoted'"
    fig = Figure()
    fig.add_subplot().plot([1, 2])
    body = html.paragraph(evil) + html.table([evil], [[evil]]) + html.figure(fig, evil) + html.figure(fig, kind="svg")
    page = html.page(evil, [(evil, body), ("second", "")], subtitle=evil)
    parser = parse(page)
    assert "script" not in {tag for tag, _ in parser.tags}
    assert sum(evil in text for text in parser.text) == 9  # title, h1, subtitle, link, h2, p, th, td, caption
    sources = [attributes["src"] for tag, attributes in parser.tags if tag == "img"]
    assert [source.partition(";")[0] for source in sources] == ["data:image/png", "data:image/svg+xml"]
    assert not [attributes for _, attributes in parser.tags if str(attributes.get("src", "")).startswith("http")]


def test_cells():
    row = [1234, 0.25, np.float32(2), np.int64(7), None, True, "a", float("nan")]
    cells = html.table(["x"] * 8, [row], digits=2).partition("<tbody>")[2]
    assert [text for text in parse(html.table(["x"] * 8, [row], digits=2)).text if text.strip() and text != "x"] == [
        "1,234", "0.25", "2.00", "7", "yes", "a", "nan",
    ]  # fmt: skip
    assert cells.count('class="number"') == 5


def test_names_of_columns_of_numbers_stand_above_them():
    table = html.table(["n", "text", "mixed", "empty"], [[1, "a", 1, None], [None, "2", "b", ""]])
    heads = [attributes.get("class") for tag, attributes in parse(table).tags if tag == "th"]
    assert heads == ["number", None, None, None]
    assert html.table(["n"], []).count("<th>") == 1
