"""The web page for trying the models: a form generated from the OpenAPI document."""
