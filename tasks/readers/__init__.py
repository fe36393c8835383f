"""What comes in from files: manifests, prompts, given videos."""
