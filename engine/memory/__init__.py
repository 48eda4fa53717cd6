"""Derives facts from a log, by rules or with a model: outlines, summaries and maps."""
