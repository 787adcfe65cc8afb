"""What a lease costs."""
