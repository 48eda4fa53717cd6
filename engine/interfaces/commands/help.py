"""`backcast help`: topics at length."""

import click


@click.command(name="help")
def command() -> None:
    """Explain a topic."""
