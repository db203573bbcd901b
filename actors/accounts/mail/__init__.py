"""Mail of accounts: rows that are written with what they tell of, and sent until they are taken."""
