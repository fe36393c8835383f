"""What training adds to CogVideoX."""
