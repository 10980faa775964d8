"""The OpenAPI 3.1 document of the served models, generated from their signatures and schemas."""

from continuous_training.serving.api.openapi.document import openapi_json

__all__ = ["openapi_json"]
