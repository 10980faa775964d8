"""The data that steps exchange: datasets, model bundles, archives and golden requests."""
