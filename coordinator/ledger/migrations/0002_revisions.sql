-- A settlement may be made again without an account that the contract refuses.

-- ``sequence`` stays the first settlement's command: what the readings are as of.
ALTER TABLE settlements ADD COLUMN revision INTEGER NOT NULL DEFAULT 0;

-- A superseded effect never happens: a later revision stands in its place.
CREATE TABLE outbox_next (
    id INTEGER PRIMARY KEY,
    key TEXT NOT NULL UNIQUE,
    kind TEXT NOT NULL,
    payload TEXT NOT NULL,
    sequence INTEGER NOT NULL,
    state TEXT NOT NULL DEFAULT 'pending' CHECK (state IN ('pending', 'sent', 'done', 'failed', 'superseded')),
    nonce INTEGER,
    raw_transaction BLOB,
    transaction_hash TEXT,
    attempts INTEGER NOT NULL DEFAULT 0,
    error TEXT,
    block_number INTEGER,
    gas_used INTEGER
) STRICT;

INSERT INTO outbox_next SELECT * FROM outbox;
DROP TABLE outbox;
ALTER TABLE outbox_next RENAME TO outbox;

CREATE INDEX outbox_open ON outbox (id) WHERE state IN ('pending', 'sent');
CREATE INDEX outbox_failed ON outbox (id) WHERE state = 'failed';
CREATE INDEX outbox_nonce ON outbox (nonce) WHERE nonce IS NOT NULL;
