-- What each auction came to, with the certificate that proves it: the newest only, the log has all of them.

CREATE TABLE auctions (
    kind TEXT NOT NULL CHECK (kind IN ('closing', 'session')),
    at INTEGER NOT NULL,
    cleared_at INTEGER NOT NULL,
    rule TEXT NOT NULL,
    outcome TEXT NOT NULL,
    volume_wh INTEGER NOT NULL,
    price_micro_per_kwh INTEGER,
    welfare_micro INTEGER,
    sequence INTEGER NOT NULL,
    certificate TEXT NOT NULL,
    PRIMARY KEY (kind, at)
) STRICT;

CREATE INDEX auctions_by_sequence ON auctions (sequence);
