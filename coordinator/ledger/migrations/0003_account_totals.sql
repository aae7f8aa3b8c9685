-- Projection: sums over each account's receipts that are in force (those of their settlement's
-- revision), so that nobody has to scan them. Triggers keep it, in the transaction of whoever settles.

CREATE TABLE account_totals (
    account TEXT PRIMARY KEY,
    intervals INTEGER NOT NULL,
    consumption_wh INTEGER NOT NULL,
    production_wh INTEGER NOT NULL,
    saved_micro INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

INSERT INTO account_totals
SELECT account, count(*), sum(consumption_wh), sum(production_wh), sum(saved_micro)
FROM receipts JOIN settlements USING (delivery_start, revision)
GROUP BY account;

CREATE TRIGGER receipts_count AFTER INSERT ON receipts
BEGIN
    INSERT INTO account_totals
    VALUES (new.account, 1, new.consumption_wh, new.production_wh, new.saved_micro)
    ON CONFLICT DO UPDATE SET
        intervals = intervals + 1,
        consumption_wh = consumption_wh + excluded.consumption_wh,
        production_wh = production_wh + excluded.production_wh,
        saved_micro = saved_micro + excluded.saved_micro;
END;

-- A new revision replaces all of the interval's receipts, also those of accounts that get no other.
CREATE TRIGGER receipts_replaced AFTER UPDATE OF revision ON settlements WHEN new.revision <> old.revision
BEGIN
    UPDATE account_totals SET
        intervals = intervals - 1,
        consumption_wh = account_totals.consumption_wh - replaced.consumption_wh,
        production_wh = account_totals.production_wh - replaced.production_wh,
        saved_micro = account_totals.saved_micro - replaced.saved_micro
    FROM receipts AS replaced
    WHERE replaced.account = account_totals.account
        AND replaced.delivery_start = old.delivery_start AND replaced.revision = old.revision;
END;
