"""A reliability diagram as an SVG: one panel for each language, one dot for each bin of confidence."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from tutor.evaluation import Bin, calibration_error
from tutor.question import Language

NAMES: Mapping[Language, str] = {"zh": "Chinese", "en": "English"}

# Pixels.
_SIDE = 240  # of a panel
_LEFT, _RIGHT, _TOP, _BOTTOM = 72, 24, 52, 66  # around a panel
_LARGEST = 14  # radius of the dot of a bin that holds half the queries or more

_TICKS = (0.0, 0.25, 0.5, 0.75, 1.0)
# The drawing has a ground of its own and follows the reader's colour scheme, so that it does not depend on the page around it.
_STYLE = """
text { font: 12px system-ui, sans-serif; fill: #59636e; text-anchor: middle }
text.title { font-size: 14px; font-weight: 600; fill: #1f2328 }
text.value { text-anchor: end }
.ground { fill: #ffffff }
.grid { stroke: #d1d9e0 }
.diagonal { stroke: #59636e; stroke-dasharray: 5 4 }
.dot { fill: #0969da; fill-opacity: .6; stroke: #0969da }
@media (prefers-color-scheme: dark) {
text { fill: #9198a1 }
text.title { fill: #f0f6fc }
.ground { fill: #0d1117 }
.grid { stroke: #3d444d }
.diagonal { stroke: #9198a1 }
.dot { fill: #4493f8; stroke: #4493f8 }
}
""".strip()


def reliability_svg(diagrams: Mapping[Language, Sequence[Bin]]) -> str:
    """The share right over the confidence, for each language; the area of a dot grows with the queries of its bin. Believable on the diagonal."""
    panel = _LEFT + _SIDE + _RIGHT
    width, height = panel * len(diagrams), _TOP + _SIDE + _BOTTOM
    panels = [line for place, (language, bins) in enumerate(diagrams.items()) for line in _panel(NAMES[language], bins, place * panel)]
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" role="img">',
            "<title>Reliability: share right over confidence</title>",
            f"<style>\n{_STYLE}\n</style>",
            f'<rect class="ground" width="{width}" height="{height}" rx="6"/>',
            *panels,
            "</svg>\n",
        ]
    )


def _panel(name: str, bins: Sequence[Bin], offset: float) -> list[str]:
    filled = [item for item in bins if item.queries]
    queries = sum(item.queries for item in filled)
    middle = _SIDE / 2
    error = f", calibration error {calibration_error(bins):.3f}" if queries else ""
    return [
        f'<g transform="translate({offset + _LEFT} {_TOP})">',
        f'<text class="title" x="{middle}" y="-34">{name}</text>',
        f'<text x="{middle}" y="-18">{queries:,} queries{error}</text>',
        *(line for tick in _TICKS for line in _tick(tick)),
        f'<path class="diagonal" d="M0 {_SIDE}L{_SIDE} 0"/>',
        *(_dot(item, queries) for item in filled),
        f'<text x="{middle}" y="{_SIDE + 52}">confidence</text>',
        f'<text transform="translate(-56 {middle}) rotate(-90)">share right</text>',
        "</g>",
    ]


def _tick(value: float) -> list[str]:
    """A grid line and a number on either axis."""
    x, y = value * _SIDE, (1 - value) * _SIDE
    return [
        f'<path class="grid" d="M{x:g} 0V{_SIDE}M0 {y:g}H{_SIDE}"/>',
        f'<text x="{x:g}" y="{_SIDE + 30}">{value:g}</text>',
        f'<text class="value" x="-17" y="{y + 4:g}">{value:g}</text>',
    ]


def _dot(item: Bin, queries: int) -> str:
    radius = max(1.5, _LARGEST * math.sqrt(min(1.0, 2 * item.queries / queries)))
    about = f"{item.queries} queries of confidence {item.low:.1f} to {item.high:.1f}: {item.right:.1%} right"
    place = f'cx="{item.confidence * _SIDE:.1f}" cy="{(1 - item.right) * _SIDE:.1f}"'
    return f'<circle class="dot" {place} r="{radius:.1f}"><title>{about}</title></circle>'
