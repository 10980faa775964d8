"""The endpoints: /predict, Open Inference Protocol v2, OpenAPI."""
