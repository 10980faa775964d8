"""The page where a person tries the models, and the OpenAPI document that it is a form over."""

from .routes import Page

__all__ = ["Page"]
