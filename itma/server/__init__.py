"""A catalogue for people and programs: the page, the HTTP API, and the client that speaks with it.

Importing this package loads neither the web framework nor torch; `itma.server.running` starts a server.
"""
