"""How flows run: Prefect around plain functions, shards in this process or as deployed runs, the way to a snapshot."""
