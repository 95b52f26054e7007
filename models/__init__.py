"""Networks (filled in later)."""
