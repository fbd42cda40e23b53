"""Speed beside the peers that are installed. No figure without its check in the same run."""
