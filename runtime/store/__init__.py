"""The store on disk: results whole or absent, leases, the journal, what became of every job."""
