-- Facts: never rewritten.

CREATE TABLE log (
    sequence INTEGER PRIMARY KEY,
    at INTEGER NOT NULL,
    kind TEXT NOT NULL,
    command TEXT NOT NULL,
    events TEXT NOT NULL,
    previous_hash BLOB NOT NULL,
    hash BLOB NOT NULL
) STRICT;

CREATE TABLE meta (
    name TEXT PRIMARY KEY,
    value ANY NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE readings (
    device_id BLOB NOT NULL,
    sequence INTEGER NOT NULL,
    timestamp INTEGER NOT NULL,
    consumption_wh INTEGER NOT NULL,
    production_wh INTEGER NOT NULL,
    flags INTEGER NOT NULL,
    previous BLOB NOT NULL,
    samples BLOB NOT NULL,
    digest BLOB NOT NULL,
    signature BLOB NOT NULL,
    committed_at INTEGER NOT NULL,
    after_sequence INTEGER NOT NULL, -- the log's last command when it came: what a settlement knew
    PRIMARY KEY (device_id, sequence)
) STRICT, WITHOUT ROWID;

CREATE INDEX readings_by_time ON readings (device_id, timestamp);

-- A second content under a used sequence number: both are kept.
CREATE TABLE equivocations (
    device_id BLOB NOT NULL,
    sequence INTEGER NOT NULL,
    digest BLOB NOT NULL,
    reading TEXT NOT NULL,
    signature BLOB NOT NULL,
    received_at INTEGER NOT NULL,
    PRIMARY KEY (device_id, sequence, digest)
) STRICT, WITHOUT ROWID;

CREATE TABLE settlements (
    delivery_start INTEGER PRIMARY KEY,
    sequence INTEGER NOT NULL,
    readings_root BLOB NOT NULL,
    receipts_root BLOB NOT NULL,
    batch_hash BLOB NOT NULL,
    rows BLOB NOT NULL,
    traded_wh INTEGER NOT NULL,
    value_micro INTEGER NOT NULL,
    minted_wh INTEGER NOT NULL,
    burned_wh INTEGER NOT NULL
) STRICT;

CREATE TABLE receipts (
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

CREATE TABLE outbox (
    id INTEGER PRIMARY KEY,
    key TEXT NOT NULL UNIQUE,
    kind TEXT NOT NULL,
    payload TEXT NOT NULL,
    sequence INTEGER NOT NULL,
    state TEXT NOT NULL DEFAULT 'pending' CHECK (state IN ('pending', 'sent', 'done', 'failed')),
    nonce INTEGER,
    raw_transaction BLOB,
    transaction_hash TEXT,
    attempts INTEGER NOT NULL DEFAULT 0,
    error TEXT,
    block_number INTEGER,
    gas_used INTEGER
) STRICT;

CREATE INDEX outbox_open ON outbox (id) WHERE state IN ('pending', 'sent');
CREATE INDEX outbox_failed ON outbox (id) WHERE state = 'failed';
CREATE INDEX outbox_nonce ON outbox (nonce) WHERE nonce IS NOT NULL;

-- Projections: follow from the log and may be dropped and rebuilt.

-- An order's text stands in the log; its id counts the orders of the market's life.
CREATE TABLE orders (
    id INTEGER PRIMARY KEY,
    digest BLOB NOT NULL UNIQUE,
    account TEXT NOT NULL,
    delivery_start INTEGER NOT NULL,
    energy_wh INTEGER NOT NULL,
    sequence INTEGER NOT NULL
) STRICT;

CREATE INDEX orders_by_account ON orders (account, id);

CREATE TABLE order_fills (
    id INTEGER PRIMARY KEY,
    filled_wh INTEGER NOT NULL
) STRICT;

CREATE TABLE order_closings (
    id INTEGER PRIMARY KEY,
    remaining_wh INTEGER NOT NULL,
    reason TEXT NOT NULL
) STRICT;

CREATE TABLE trades (
    trade_id INTEGER PRIMARY KEY,
    at INTEGER NOT NULL,
    delivery_start INTEGER NOT NULL,
    buy BLOB NOT NULL,
    sell BLOB NOT NULL,
    buyer TEXT NOT NULL,
    seller TEXT NOT NULL,
    energy_wh INTEGER NOT NULL,
    price_micro_per_kwh INTEGER NOT NULL,
    stage TEXT NOT NULL
) STRICT;

CREATE INDEX trades_by_interval ON trades (delivery_start, trade_id);

CREATE TABLE settled_trades (
    trade_id INTEGER PRIMARY KEY,
    settled_wh INTEGER NOT NULL,
    value_micro INTEGER NOT NULL
) STRICT;

CREATE TABLE intervals (
    delivery_start INTEGER PRIMARY KEY,
    stage TEXT NOT NULL DEFAULT 'open',
    price_micro_per_kwh INTEGER,
    volume_wh INTEGER NOT NULL DEFAULT 0,
    trades INTEGER NOT NULL DEFAULT 0,
    settled_wh INTEGER,
    value_micro INTEGER,
    homes INTEGER NOT NULL DEFAULT 0,
    transaction_hash TEXT,
    block_number INTEGER,
    gas_used INTEGER,
    settled_at INTEGER,
    confirmed_at INTEGER
) STRICT;
