"""What an operator asks a ledger afterwards: other rules, surveillance; and whether an engine conforms. Reads only."""
