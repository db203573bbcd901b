"""What Greenroom is measured beside."""
