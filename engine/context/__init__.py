"""What a model is shown: `context_at` builds it for a moment, `record_context` records it too."""

from domain.context import Context
from engine.context.candidates import Request
from engine.context.recorded import context_at, record_context

__all__ = ["Context", "Request", "context_at", "record_context"]
