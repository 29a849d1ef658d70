"""The command line: ``facesearch …``, one module a group of commands.

It computes nothing: it reads arguments, calls the library, and prints answers on stdout and everything else on stderr. Importing it
loads neither NumPy nor the library behind it, so that ``--help`` answers at once.
"""
