"""The endpoints (/predict, Open Inference Protocol v2), their body formats and OpenAPI."""
