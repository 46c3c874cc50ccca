"""The steps of the MemGPT state machine (Packer et al. 2024): receive, page, evict, think, act."""
