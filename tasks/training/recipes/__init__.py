"""One room a paper: config, model and loss."""
