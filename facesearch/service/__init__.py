"""The use cases: enroll, verify, identify, and looking after a gallery.

They know protocols, not adapters: every concrete class is handed in by ``facesearch.bootstrap``.
"""
