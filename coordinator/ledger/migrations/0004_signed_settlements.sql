-- What a batch keeps as fees, and the settler's signature (r || vs) over its header.

ALTER TABLE settlements ADD COLUMN fees_micro INTEGER NOT NULL DEFAULT 0;
ALTER TABLE settlements ADD COLUMN signer TEXT NOT NULL DEFAULT '';
ALTER TABLE settlements ADD COLUMN signature BLOB NOT NULL DEFAULT x'';
