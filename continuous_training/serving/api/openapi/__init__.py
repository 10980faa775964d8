"""The OpenAPI 3.1 document of what is served now, made from each model's own signature and examples."""

from .document import document

__all__ = ["document"]
