"""Who does what to whom in captioned videos, and every instance's masks (MATRIX)."""
