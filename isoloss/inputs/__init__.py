"""What commands are given beside a study: values, tables of runs, files of laws and of weights, gates."""
