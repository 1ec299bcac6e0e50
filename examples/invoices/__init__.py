"""A back-office crew that reconciles invoices with the ledger: extractor, matcher, reconciler, writer."""
