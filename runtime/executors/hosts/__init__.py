"""Jobs on several hosts without a batch system."""
