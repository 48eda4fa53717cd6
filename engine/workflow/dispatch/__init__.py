"""Dispatches items of a task list to coding agents, and checks what they claim.

The keeper process imports only the modules that it needs, so this one imports none.
"""
