-- What the buyer of a trade pays on top of its price.

ALTER TABLE trades ADD COLUMN grid_fee_micro_per_kwh INTEGER NOT NULL DEFAULT 0;
ALTER TABLE trades ADD COLUMN community_fee_micro_per_kwh INTEGER NOT NULL DEFAULT 0;

-- The market's state after a row of the log, so that a start replays only what came after. ``code`` names the
-- version of the code that made it: another version starts from the log.
CREATE TABLE snapshots (
    sequence INTEGER PRIMARY KEY,
    log_hash BLOB NOT NULL,
    code BLOB NOT NULL,
    digest BLOB NOT NULL,
    state_hash BLOB NOT NULL,
    content BLOB NOT NULL
) STRICT;
