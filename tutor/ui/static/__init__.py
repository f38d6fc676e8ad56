"""The files that the browser gets: scripts, styles, pictures."""

from pathlib import Path

STATIC = Path(__file__).parent
