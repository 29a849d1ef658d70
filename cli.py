"""Entry point of a checkout: ``python cli.py …`` is ``facesearch …``.

It does nothing of its own: see ``facesearch.cli.main``.
"""

from facesearch.cli.main import run

if __name__ == "__main__":
    run()
