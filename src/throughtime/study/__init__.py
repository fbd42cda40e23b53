"""The chooser: plan, run, ledger, judge."""
