"""What requests and answers look like, as pydantic models: the source of the OpenAPI document.

Names of members follow ``facesearch.service.shapes``; models of answers allow nothing else, so that an answer that was not meant to
be given is an error and not a leak.
"""
