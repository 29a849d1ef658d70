"""From encoded photographs to aligned faces, and back to pictures of the result.

Finding faces is ``facesearch.detection``'s work.
"""
