"""HOW a step works: plain typed functions, state in, update out; prompts beside the node that sends them."""
