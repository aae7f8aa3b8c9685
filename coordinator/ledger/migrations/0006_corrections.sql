-- Corrections of settlements that are on chain, with the receipts that their members judge them by.

CREATE TABLE corrections (
    delivery_start INTEGER NOT NULL,
    revision INTEGER NOT NULL,
    sequence INTEGER NOT NULL,
    batch_hash BLOB NOT NULL,
    readings_root BLOB NOT NULL,
    receipts_root BLOB NOT NULL,
    signer TEXT NOT NULL,
    signature BLOB NOT NULL,
    stage TEXT NOT NULL DEFAULT 'proposed'
        CHECK (stage IN ('proposed', 'agreed', 'booked', 'ended', 'superseded')),
    PRIMARY KEY (delivery_start, revision)
) STRICT, WITHOUT ROWID;

-- What a correction adds to an account's columns; ``signature`` (r || vs) once it has agreed.
CREATE TABLE correction_changes (
    account TEXT NOT NULL,
    delivery_start INTEGER NOT NULL,
    revision INTEGER NOT NULL,
    money_micro INTEGER NOT NULL,
    energy_wh INTEGER NOT NULL,
    signature BLOB NOT NULL DEFAULT x'',
    PRIMARY KEY (account, delivery_start, revision)
) STRICT, WITHOUT ROWID;

-- A correction's receipts go among the others when it is booked.
CREATE TABLE correction_receipts (
    account TEXT NOT NULL,
    delivery_start INTEGER NOT NULL,
    revision INTEGER NOT NULL,
    consumption_wh INTEGER NOT NULL,
    production_wh INTEGER NOT NULL,
    total_micro INTEGER NOT NULL,
    saved_micro INTEGER NOT NULL,
    body TEXT NOT NULL,
    proof BLOB NOT NULL,
    PRIMARY KEY (account, delivery_start, revision)
) STRICT, WITHOUT ROWID;

-- What the settler has stated about each revision that was or is in force.
CREATE VIEW statements AS
SELECT delivery_start, revision, batch_hash, readings_root, receipts_root, signer, signature FROM settlements
UNION ALL
SELECT delivery_start, revision, batch_hash, readings_root, receipts_root, signer, signature FROM corrections
WHERE stage = 'booked';

-- The revision whose receipts are in force.
CREATE VIEW revisions_in_force AS
SELECT delivery_start, max(revision) AS revision FROM statements GROUP BY delivery_start;
