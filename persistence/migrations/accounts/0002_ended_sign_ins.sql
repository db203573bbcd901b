-- A sign-in that has ended stays until it would have run out, so that its refresh tokens are refused
-- with the reason: a key of WHY in actors/accounts/access.py.
ALTER TABLE account_sign_ins ADD COLUMN ended text;
