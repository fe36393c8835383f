"""A room each dataset: tables, ledger, statistics, story, view, report, export."""
