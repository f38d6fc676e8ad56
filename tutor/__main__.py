"""`python -m tutor`."""

from tutor.cli import app

app(prog_name="python -m tutor")
