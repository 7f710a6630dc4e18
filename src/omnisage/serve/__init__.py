"""The embeddings as a service: HTTP with OpenAPI, and the page that explores them. Command: `omnisage serve`."""
