"""Who is enrolled, kept in a relational database (SQLite by default, PostgreSQL by its URL).

It decides nothing and searches no vectors: see ``facesearch.service`` and ``facesearch.gallery``.
"""
