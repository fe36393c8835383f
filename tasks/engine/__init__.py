"""What is the same for every dataset: stages over rows in shards, keys, results, snapshots."""
