"""Backcast."""
