"""Foreign code and its tests are run apart from everything: `run.run_checks` says what came of it.

Whoever keeps the run apart imports only what it needs from here, so nothing is imported here.
"""
