"""What the page shows of the embeddings as a whole: a map of all entities, and how healthy they are."""
