"""Pictures inside a page: a figure as SVG in the page's own colours, a PNG file as a data address."""

from __future__ import annotations

import base64
import io
import re
from dataclasses import dataclass
from pathlib import Path

import matplotlib
from markupsafe import Markup, escape
from matplotlib.figure import Figure

SMALLEST = 0.7  # of a figure's own width: narrower screens scroll it in its box, so that its words stay readable
_PIXELS_A_POINT = 4 / 3
_SETTINGS = {"svg.fonttype": "path", "svg.hashsalt": "cimbench"}  # no font is needed; the same figure, the same bytes
_NO_METADATA = {"Date": None, "Creator": None, "Format": None, "Type": None}


@dataclass(frozen=True, kw_only=True)
class Drawing:
    """An SVG element for a page, and the least width in CSS pixels at which its words can be read."""

    svg: Markup
    width: int


def inline_svg(figure: Figure, name: str, words: str) -> Drawing:
    """The figure without a background, black drawn in the page's colour of text.

    name: prefix of its ids, which are then the page's only ones; words: what a reader who does not see it is told.
    """
    file = io.StringIO()
    with matplotlib.rc_context(_SETTINGS):
        figure.savefig(file, format="svg", transparent=True, bbox_inches="tight", metadata=_NO_METADATA)
    text = file.getvalue()
    text = re.sub(r"<style.*?</style>", "", text[text.index("<svg") :], flags=re.S)
    text = re.sub(r'(id="|"#|url\(#)', rf"\g<1>{name}-", text).replace("#000000", "currentColor")
    found = re.match(r'<svg ([^>]*?)width="([\d.]+)pt"([^>]*)>', text.replace("\n", " ", 3), re.S)
    assert found is not None
    width = float(found[2]) * _PIXELS_A_POINT
    box = re.search(r'viewBox="[^"]*"', found[0])
    assert box is not None
    inner = text[text.index(">") + 1 :]
    start = f'<svg xmlns="http://www.w3.org/2000/svg" {box[0]} role="img" aria-label="{escape(words)}">'
    return Drawing(svg=Markup(start + inner.strip()), width=round(SMALLEST * width))


def inline_png(path: Path) -> str:
    """The file as a data address."""
    return f"data:image/png;base64,{base64.b64encode(path.read_bytes()).decode()}"
