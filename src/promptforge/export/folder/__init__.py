"""What every format shares: the data set that is read, and the folder that is written."""
