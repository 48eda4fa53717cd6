"""Exchanges with a model's server that a proxy saw, from the first byte to the events of a task.

`spool` keeps on the disk what comes while it comes; `bodies` takes a request apart, `answers` reads
what a server sent, `sessions` finds the conversation that a request goes on with, `talk` what is
new in it, and `writer` makes events of it all. `requests` reads them again.
"""
