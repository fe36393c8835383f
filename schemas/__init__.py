"""The records that enter and are stored, one file each."""
