-- The replicated document behind the settings, in pieces that belong together in this order. Secrets
-- in it, and in revisions from now on, are ciphertext; their keys are in a file of their own.
CREATE TABLE document (
    number INTEGER PRIMARY KEY,
    piece  BLOB NOT NULL
) STRICT;
