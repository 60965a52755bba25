"""One pipeline file on a few documents, before it runs: `docsluice try`."""
