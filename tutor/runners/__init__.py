"""Where the runs of the page and of its API happen: in this process, or on a Ray cluster. `build_runner` in `runner.py` chooses."""
