"""The routes of the service, a module a group, each with a ``router``; ``facesearch.api.app`` lists them."""
