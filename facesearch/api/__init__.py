"""The service over HTTP.

It knows the library's front and what the service keeps (keys, audit, jobs); it decides nothing about faces.
"""
