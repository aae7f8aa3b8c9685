"""Pure: trades and verified energy become account rows, receipts and Merkle trees."""
