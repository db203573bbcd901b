"""Pure decisions about ties between users."""
