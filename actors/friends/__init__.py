"""Friends: requests, friendships and blocks between users, as rows."""
