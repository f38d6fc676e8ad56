"""Builds the interface and serves it: the entry point of a Space, too."""

from tutor.ui.app import serve

if __name__ == "__main__":
    serve()
