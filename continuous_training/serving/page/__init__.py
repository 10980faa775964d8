"""The page where a person tries the models, and the OpenAPI document that it is a form over."""

from continuous_training.serving.page.routes import Page

__all__ = ["Page"]
