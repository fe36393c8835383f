"""What is measured of curated data, one file a metric."""
