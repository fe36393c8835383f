"""LLMs and VLMs behind OpenAI-compatible servers."""
