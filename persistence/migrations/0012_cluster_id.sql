-- Which cluster this is. Its nodes write it into Valkey as well: so a node whose Valkey serves the nodes of
-- another register is found out before it joins.
ALTER TABLE cluster ADD COLUMN id uuid NOT NULL DEFAULT gen_random_uuid();
