"""What training adds to Wan."""
