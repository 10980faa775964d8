"""The OpenAPI 3.1 document of what is served now, made from each model's own signature and examples."""

from continuous_training.serving.api.openapi.document import document

__all__ = ["document"]
