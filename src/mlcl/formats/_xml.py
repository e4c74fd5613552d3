"""Large XML files as streams, safely: elements of some names, each taken out of the tree once it was used.

In: a plain or compressed file. Out: elements. Python's parser fetches nothing from outside, and expat (from 2.4.1) ends
documents whose entities expand to many times their size with an error.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Literal
from xml.etree.ElementTree import Element, ParseError, iterparse

from mlcl.core.errors import UserError
from mlcl.core.files import damage_is_reported, open_binary

Event = tuple[Literal["start", "end"], Element, tuple[Element, ...]]
"""What happened, the element, and the elements around it, outermost first."""


def elements(path: Path, closed: Collection[str], opened: Collection[str] = ()) -> Iterator[Event]:
    """Elements by their local names: whole ones when they end, and empty ones when they open.

    An element inside another of `closed` comes as a part of that one alone.

    Raises:
        UserError: malformed or truncated XML with its line, or a damaged archive.
    """
    around: list[Element] = []
    inside = 0
    with damage_is_reported(path), open_binary(path) as file:
        try:
            for event, element in iterparse(file, events=("start", "end")):
                name = local_name(element)
                if event == "start":
                    if name in opened and not inside:
                        yield "start", element, tuple(around)
                    around.append(element)
                    inside += name in closed
                    continue
                around.pop()
                inside -= name in closed
                if inside:
                    continue
                if name in closed:
                    yield "end", element, tuple(around)
                if around:
                    around[-1].remove(element)  # nothing before it is left, so this is quick
        except ParseError as error:
            line = error.position[0]
            raise UserError(f"malformed XML: {error}", path=path, line=line, remedy="export it again") from error


def local_name(element: Element) -> str:
    """The name of an element without its namespace."""
    return element.tag.rpartition("}")[2]


def text_of(element: Element, left_out: Collection[str]) -> str:
    """The text of an element without that of the children named; every run of white space is one space."""
    return " ".join("".join(_pieces(element, left_out)).split())


def _pieces(element: Element, left_out: Collection[str]) -> Iterator[str]:
    yield element.text or ""
    for child in element:
        if local_name(child) not in left_out:
            yield from _pieces(child, left_out)
        yield child.tail or ""
