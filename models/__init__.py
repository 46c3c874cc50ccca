"""WHO thinks: any OpenAI-compatible endpoint, or the built-in offline model; and the scripted model of the tests."""
