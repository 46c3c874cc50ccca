"""An agent's memory for other tools, by the Model Context Protocol: searched, kept, and forgotten with the person's yes."""
