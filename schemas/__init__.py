"""The records: what enters, what is stored. One file a record."""
