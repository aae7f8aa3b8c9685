"""What follows a settlement at home: the receipt verified, the hour published, the Energy dashboard."""
