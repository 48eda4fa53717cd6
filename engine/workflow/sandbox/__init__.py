"""Runs foreign code and its tests in isolation; `run.run_checks` returns the outcome.

The keeper process imports only the modules that it needs, so this one imports none.
"""
