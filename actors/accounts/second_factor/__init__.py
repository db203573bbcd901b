"""The second factor of an account: TOTP and recovery codes, asked for by every way in."""
