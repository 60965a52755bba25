"""What `docsluice init` writes: for each kind of document a pipeline file and a few documents to try it on."""
