"""A lineage as a drawing: the calls in the order in which they were asked, one under the other, and an arc for each edge.

A layout that any number of calls fits into and that a reader can follow line by line; nothing is placed by chance, so the
same lineage gives the same bytes.
"""

from __future__ import annotations

from collections.abc import Collection
from html import escape

from chargehand.cli.safe import one_line
from chargehand.core.lineage import Lineage, Strength

ROW, TOP, TEXT, NEAREST, STEP, WIDEST = 24, 48, 12, 18, 14, 360
_STROKES: dict[Strength, str] = {
    "exact": 'stroke="#1f6f43" stroke-width="2"',
    "part": 'stroke="#1f5fa8" stroke-width="1.5"',
    "possible": 'stroke="#8a8a8a" stroke-width="1" stroke-dasharray="4 3"',
}
_FILLS = {"effect": "#b3411e", "agent": "#1f5fa8"}
_OTHER = "#555555"
_LABEL_CHARS = 90
_FONT = 'font-family="ui-monospace, monospace" font-size="12"'


def svg_of(lineage: Lineage, title: str, marked: Collection[str] = ()) -> str:
    """Return the drawing as one SVG document. `marked` calls are drawn bold: what a question was about, and what answers it."""
    rows = {node.path: number for number, node in enumerate(lineage.nodes)}
    reach = max((rows[edge.target] - rows[edge.source] for edge in lineage.edges), default=1)
    left = min(NEAREST + STEP * reach, WIDEST) + TEXT
    width = left + TEXT + 8 * min(max([len(title), *(len(node.path) + len(node.kind) + 3 for node in lineage.nodes)]), _LABEL_CHARS + 12)
    height = TOP + ROW * len(rows) + ROW * 2
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="img">',
        f"<title>{escape(one_line(title))}</title>",
        f'<rect width="{width}" height="{height}" fill="#ffffff"/>',
        f'<text x="{TEXT}" y="{ROW}" {_FONT} font-weight="bold">{escape(one_line(title))}</text>',
    ]
    for edge in lineage.edges:
        start, end = TOP + ROW * rows[edge.source], TOP + ROW * rows[edge.target]
        out = left - min(NEAREST + STEP * (rows[edge.target] - rows[edge.source]), WIDEST)
        told = escape(one_line(f"{edge.source} → {edge.target}: {edge.strength} {', '.join(edge.at)}", 300))
        lines.append(
            f'<path d="M {left} {start} C {out} {start} {out} {end} {left} {end}" fill="none" {_STROKES[edge.strength]}><title>{told}</title></path>'
        )
    for node in lineage.nodes:
        y = TOP + ROW * rows[node.path]
        weight = ' font-weight="bold"' if node.path in marked else ""
        label = escape(one_line(node.path, _LABEL_CHARS))
        lines.append(f'<circle cx="{left}" cy="{y}" r="4" fill="{_FILLS.get(node.kind, _OTHER)}"/>')
        lines.append(f'<text x="{left + TEXT}" y="{y + 4}" {_FONT}{weight}>{label} <tspan fill="#777777">({node.kind})</tspan></text>')
    y = TOP + ROW * (len(rows) + 1)
    for number, (strength, stroke) in enumerate(_STROKES.items()):
        x = TEXT + 110 * number
        lines.append(f'<path d="M {x} {y} h 28" fill="none" {stroke}/>')
        lines.append(f'<text x="{x + 34}" y="{y + 4}" {_FONT}>{strength}</text>')
    return "\n".join([*lines, "</svg>", ""])
