"""What a prepared data set really holds: every record read and checked, on disk or in S3."""
