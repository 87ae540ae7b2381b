"""Prepares data: pictures → TFRecord shards and dataset.json, on disk or in S3."""
