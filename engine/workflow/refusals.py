"""The refusal of an answer, in words for the model that gave it."""


class RefusedError(Exception):
    """An answer that cannot be used. Its text is for the model."""
