"""The deploy-serving step: roll out an archived version."""
