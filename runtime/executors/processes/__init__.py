"""Worker processes of one or many jobs: the fork server, rank groups, the scheduler of device slots."""
