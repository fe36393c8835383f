"""What the datasets of samples share: ledger, outcomes, statistics, story, page."""
