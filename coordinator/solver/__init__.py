"""The solver behind one small port: it proposes, ``market.clearing`` decides in integers."""
