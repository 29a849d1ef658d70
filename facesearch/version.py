"""The release of facesearch."""

__version__ = "0.1.0"
