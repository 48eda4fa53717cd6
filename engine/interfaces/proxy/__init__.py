"""A proxy that passes requests to a model's server on, and records them.

`passing` is the ASGI application: it keeps each byte in the spool before it passes it on, and reads
nothing. `recording` writes finished exchanges into the store, in a process of its own
(`recording_process`). `serving` runs both, alone or around a command.
"""
