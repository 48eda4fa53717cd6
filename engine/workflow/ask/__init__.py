"""Answers questions about logs that are far larger than a model's window.

A model works through a few actions: it lists, searches and reads, asks smaller questions of others
like it, each with a small context of its own, and answers with quotes. All that it sees is a view
of a log as of one moment, and all that it does stands in the log of the question.
"""
