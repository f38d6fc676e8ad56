"""What every demo builds on. Imports neither `tutor`, nor gradio, nor a plotting library: a demo yields data."""
