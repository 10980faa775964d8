"""The HTML report and the model card of an evaluation."""
