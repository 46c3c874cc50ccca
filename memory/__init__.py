"""WHERE things are kept: the Qdrant store, recall and archival storage, the embedder, the checkpointers."""
