"""The REST service: FastAPI routes over the library, with keys, limits, an audit trail and problem bodies.

It decides nothing itself and imports nothing heavy before an application is made; needs the extra ``server``.
"""
